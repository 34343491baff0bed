package api

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"syscall"

	"github.com/danielgtaylor/huma/v2"

	"github.com/wfd-dev/wfd/engine"
	"github.com/wfd-dev/wfd/engine/access"
	"github.com/wfd-dev/wfd/engine/machine"
	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection"
	"github.com/wfd-dev/wfd/projection/run"
	"github.com/wfd-dev/wfd/replay"
)

// Problem is an error as the API answers it, by RFC 9457.
type Problem struct {
	Type     string            `json:"type" doc:"a stable URI that names the kind of problem"`
	Title    string            `json:"title"`
	Status   int               `json:"status"`
	Detail   string            `json:"detail"`
	Hint     string            `json:"hint,omitempty" doc:"what to do about it"`
	Run      string            `json:"run,omitempty"`
	Node     string            `json:"node,omitempty"`
	Seq      eventlog.Seq      `json:"seq,omitempty"`
	Problems workflow.Problems `json:"problems,omitempty" doc:"of a definition: all that is wrong with it"`
	Fields   []Field           `json:"errors,omitempty" doc:"of a request: the fields that are wrong"`

	retryAfter string
}

// Field is a field of a request that is wrong.
type Field struct {
	Location string `json:"location,omitempty"`
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

// GetStatus and ContentType are what huma asks of an error.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType returns the media type of problems.
func (p *Problem) ContentType(string) string { return "application/problem+json" }

// GetHeaders returns the headers that go with the problem.
func (p *Problem) GetHeaders() http.Header {
	h := http.Header{}
	if p.retryAfter != "" {
		h.Set("Retry-After", p.retryAfter)
	}
	if p.OfType("unauthorized") {
		h.Set("WWW-Authenticate", `Bearer realm="wfd"`)
	}
	return h
}

// OfType reports whether p is of the type with this last part.
func (p *Problem) OfType(slug string) bool { return p.Type == typeURI(slug) }

const typePrefix = "urn:wfd:problem:"

func typeURI(slug string) string { return typePrefix + slug }

// TypeInfo is what all problems of a type share.
type TypeInfo struct {
	Status int
	Title  string
}

// Types are the types of problems by the last part of their URI. They are
// stable: programs may rely on them.
var Types = map[string]TypeInfo{
	"malformed":          {400, "The request cannot be read"},
	"unauthorized":       {401, "A token is needed"},
	"denied":             {401, "The webhook does not prove who sent it"},
	"forbidden":          {403, "The request is not accepted from there"},
	"not-allowed":        {403, "Whoever makes the request may not do this"},
	"not-found":          {404, "There is no such thing"},
	"method-not-allowed": {405, "The method is not allowed here"},
	"not-acceptable":     {406, "No such form of the answer"},
	"timeout":            {408, "The request took too long"},
	"refused":            {409, "The present state does not allow it"},
	"exists":             {409, "It exists and is another one"},
	"ambiguous":          {409, "The name is ambiguous"},
	"stale":              {409, "The task is not the worker's any more"},
	"too-large":          {413, "It is too large"},
	"media-type":         {415, "The media type is not understood"},
	"invalid":            {422, "The request is invalid"},
	"invalid-definition": {422, "The definition has errors"},
	"unsupported":        {422, "This is not supported yet"},
	"busy":               {429, "Too much at once"},
	"internal":           {500, "Something went wrong inside"},
	"corrupt":            {500, "Stored data is damaged"},
	"paused":             {503, "The hook is paused"},
	"starting":           {503, "The daemon is starting"},
	"provider-away":      {503, "Who makes the request cannot be told"},
	"unwritable":         {503, "The storage does not let itself be read or written"},
	"outcome-unknown":    {503, "The outcome is unknown"},
	"stopped":            {503, "The engine has stopped"},
	"disk-full":          {507, "The disk is full"},
}

// problem returns a problem of a type.
func problem(slug, detail, hint string) *Problem {
	info := Types[slug]
	return &Problem{Type: typeURI(slug), Title: info.Title, Status: info.Status, Detail: detail, Hint: hint}
}

// Busy is the problem of somebody who comes when there is too much at once.
func Busy(detail, hint string) *Problem { return problem("busy", detail, hint) }

const repeatHint = "repeat the request with the same Idempotency-Key once the daemon is back: it is done once, whatever happened"

// AsProblem returns err as a problem.
func AsProblem(err error) *Problem {
	var p *Problem
	if errors.As(err, &p) {
		if info, ok := Types[strings.TrimPrefix(p.Type, typePrefix)]; ok && p.Status == 0 {
			p.Title, p.Status = info.Title, info.Status
		}
		return p
	}
	var defects workflow.Problems
	var corrupt *eventlog.CorruptError
	var stale *engine.StaleError
	switch msg := err.Error(); {
	case errors.As(err, &defects):
		p = problem("invalid-definition", defects.Summary(), "")
		p.Problems = defects
	case errors.As(err, &stale):
		p = problem("stale", msg, "stop working on it: nothing that is said about it with this token counts")
		p.Run, p.Node = stale.Task.Run.String(), stale.Task.Node
	case errors.As(err, &corrupt):
		p = problem("corrupt", msg, "stop the daemon and run wfd check")
		p.Seq = corrupt.Seq
		if !corrupt.Run.IsZero() {
			p.Run = corrupt.Run.String()
		}
	case errors.Is(err, eventlog.ErrFull):
		p = problem("disk-full", msg, "nothing was stored; repeat the request once there is space: reads go on, and so does the daemon")
		p.retryAfter = "10"
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.EFBIG): // the views could not be brought up to date
		p = problem("disk-full", msg, "lists come back once there is space; single runs and their events can be read meanwhile")
		p.retryAfter = "10"
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		p = problem("busy", msg, "let the daemon open more files (ulimit -n)")
		p.retryAfter = "1"
	case errors.Is(err, eventlog.ErrUnknown):
		p = problem("outcome-unknown", msg, repeatHint)
	case errors.Is(err, eventlog.ErrStopped), errors.Is(err, engine.ErrStopped), errors.Is(err, eventlog.ErrClosed), errors.Is(err, projection.ErrClosed):
		p = problem("stopped", msg, repeatHint)
	case errors.Is(err, engine.ErrBusy):
		p = problem("busy", msg, "repeat the request a little later")
		p.retryAfter = "1"
	case errors.Is(err, eventlog.ErrTooLarge):
		p = problem("too-large", msg, "keep large data outside and pass a reference to it")
	case errors.Is(err, access.ErrUnavailable):
		p = problem("provider-away", msg, "repeat the request a little later; tokens of wfd token create are good meanwhile")
		p.retryAfter = "10"
	case errors.Is(err, access.ErrExists):
		p = problem("exists", msg, "")
	case errors.Is(err, access.ErrInvalid):
		p = problem("invalid", msg, "")
	case errors.Is(err, access.ErrNotFound):
		p = problem("not-found", msg, "wfd token ls lists them")
	case errors.Is(err, engine.ErrExists):
		p = problem("exists", msg, "use another ID or Idempotency-Key")
	case errors.Is(err, projection.ErrAmbiguous):
		p = problem("ambiguous", msg, "write the name as it was registered")
	case errors.Is(err, engine.ErrUnsupported):
		p = problem("unsupported", msg, "")
	case errors.Is(err, machine.ErrRefused):
		p = problem("refused", msg, "")
	case errors.Is(err, machine.ErrInvalid), errors.Is(err, replay.ErrPosition), errors.Is(err, projection.ErrCursor):
		p = problem("invalid", msg, "")
	case errors.Is(err, machine.ErrNotFound), errors.Is(err, engine.ErrNotFound), errors.Is(err, projection.ErrNotFound), errors.Is(err, run.ErrNotFound):
		p = problem("not-found", msg, "")
	case errors.Is(err, engine.ErrUnderWay):
		p = problem("refused", msg, "wait until it is done, and look whether anything is left to be done")
	case errors.Is(err, syscall.EROFS), errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM), errors.Is(err, syscall.EIO):
		p = problem("unwritable", msg, "look at the disk, its mount and who owns the data directory (wfd doctor); what was acknowledged is stored")
		p.retryAfter = "60"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		p = problem("timeout", msg, repeatHint)
	default:
		p = problem("internal", msg, "")
	}
	return p
}

// slugs are the types of what huma finds wrong, by status.
var slugs = map[int]string{
	400: "malformed", 404: "not-found", 405: "method-not-allowed", 406: "not-acceptable", 408: "timeout",
	413: "too-large", 415: "media-type", 422: "invalid",
}

// huma has one constructor of errors for the whole process.
func init() {
	huma.NewErrorWithContext = func(_ huma.Context, status int, msg string, errs ...error) huma.StatusError {
		return humaProblem(status, msg, errs...)
	}
	huma.NewError = func(status int, msg string, errs ...error) huma.StatusError {
		return humaProblem(status, msg, errs...)
	}
}

func humaProblem(status int, msg string, errs ...error) *Problem {
	slug := slugs[status]
	if slug == "" {
		slug = "internal"
	}
	if msg == "validation failed" {
		msg = map[int]string{400: "the body is not JSON", 415: "the body is not JSON by its Content-Type"}[status]
		if msg == "" {
			msg = "the request is not as the API has it"
		}
	}
	p := problem(slug, msg, "")
	for _, err := range errs {
		// The value stays out: it may be large, or secret.
		if d, ok := err.(huma.ErrorDetailer); ok {
			p.Fields = append(p.Fields, Field{d.ErrorDetail().Location, d.ErrorDetail().Message})
		} else if err != nil {
			p.Fields = append(p.Fields, Field{Message: err.Error()})
		}
	}
	return p
}
