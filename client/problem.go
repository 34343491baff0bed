package client

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"
)

// Problem is an error as the daemon answers it, by RFC 9457.
type Problem struct {
	Type   string `json:"type"` // a stable URI that names the kind of problem
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	Hint   string `json:"hint"` // what to do about it
	Run    string `json:"run"`
	Node   string `json:"node"`
	Seq    uint64 `json:"seq"`
	// Defects are what is wrong with a definition.
	Defects []Defect `json:"problems"`
	// Fields are the fields of the request that are wrong.
	Fields []Field `json:"errors"`
	// RetryAfter is how long the daemon asks to wait; 0: it does not say.
	RetryAfter time.Duration `json:"-"`
}

// Defect is one thing wrong with a definition, or worth knowing about it.
type Defect struct {
	Severity string `json:"severity"` // error, warning or note
	Code     string `json:"code"`     // a stable slug
	Message  string `json:"message"`
	Hint     string `json:"hint,omitempty"`
	File     string `json:"file,omitempty"`
	Line     int    `json:"line,omitempty"`   // from 1; 0: there is no text
	Column   int    `json:"column,omitempty"` // from 1, in characters
	Width    int    `json:"width,omitempty"`  // characters concerned
	Source   string `json:"source,omitempty"` // the line, possibly a stretch of it
	Shift    int    `json:"shift,omitempty"`  // characters of the line left out before Source
	Path     string `json:"path,omitempty"`   // as nodes.review.set.score
	Node     string `json:"node,omitempty"`
}

// Field is a field of a request that is wrong.
type Field struct {
	Location string `json:"location"`
	Message  string `json:"message"`
}

// Error is the problem in one sentence.
func (p *Problem) Error() string {
	if len(p.Fields) == 0 {
		return p.Detail
	}
	var parts []string
	for _, f := range p.Fields {
		parts = append(parts, strings.TrimPrefix(f.Location+": "+f.Message, ": "))
	}
	return p.Detail + ": " + strings.Join(parts, "; ")
}

const typePrefix = "urn:wfd:problem:"

// Slug is the last part of the problem's type, as "not-found".
func (p *Problem) Slug() string { return strings.TrimPrefix(p.Type, typePrefix) }

// ParseProblem returns the problem that a text is, if it is one.
func ParseProblem(b []byte) (p *Problem, ok bool) {
	p = &Problem{}
	return p, json.Unmarshal(b, p) == nil && strings.HasPrefix(p.Type, typePrefix)
}

func (p *Problem) retryAfter(header string) {
	if s, err := strconv.Atoi(header); err == nil && s > 0 {
		p.RetryAfter = time.Duration(min(s, 3600)) * time.Second
	}
}

// What a program may want to tell apart, with errors.Is.
var (
	ErrNotFound     = errors.New("there is no such thing")                         // 404
	ErrRefused      = errors.New("the present state does not allow it")            // 409, as a signal to a run that has ended
	ErrExists       = errors.New("it exists and is another one")                   // 409, of a run's ID or an Idempotency-Key
	ErrStale        = errors.New("the task is not the worker's any more")          // 409
	ErrInvalid      = errors.New("the request is invalid")                         // 400 or 422
	ErrTooLarge     = errors.New("it is too large")                                // 413
	ErrUnauthorized = errors.New("the token is missing, wrong or not for this")    // 401 or 403
	ErrUnavailable  = errors.New("the daemon cannot do it now; it may be able to") // 408, 429, 503 or 507
)

// Is lets errors.Is tell what kind of problem p is.
func (p *Problem) Is(target error) bool {
	switch target {
	case ErrNotFound:
		return p.Status == 404
	case ErrRefused:
		return p.Slug() == "refused"
	case ErrExists:
		return p.Slug() == "exists"
	case ErrStale:
		return p.Slug() == "stale"
	case ErrInvalid:
		return p.Status == 400 || p.Status == 422
	case ErrTooLarge:
		return p.Status == 413
	case ErrUnauthorized:
		return p.Status == 401 || p.Status == 403
	case ErrUnavailable:
		return p.Status == 408 || p.Status == 429 || p.Status == 503 || p.Status == 507
	}
	return false
}
