package lease

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/run"
)

// ID names a task: one visit of a node of a run.
type ID struct {
	Run   eventlog.RunID
	Node  string // of a foreach's item: "node[i]"
	Visit int
}

// String writes id as RUN.VISIT.NODE, and RUN.VISIT.NODE.ITEM for an item: nothing in
// it needs escaping in a URL or a shell.
func (id ID) String() string {
	if of, item, ok := run.ItemOf(id.Node); ok {
		return fmt.Sprintf("%s.%d.%s.%d", id.Run, id.Visit, of, item)
	}
	return fmt.Sprintf("%s.%d.%s", id.Run, id.Visit, id.Node)
}

// MarshalText and UnmarshalText let an ID stand in JSON as its string.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText is the inverse of MarshalText.
func (id *ID) UnmarshalText(b []byte) (err error) {
	*id, err = ParseID(string(b))
	return err
}

// ErrID: a text is not the ID of a task.
var ErrID = errors.New("not the ID of a task")

// ParseID is the inverse of String.
func ParseID(s string) (ID, error) {
	bad := func() (ID, error) { return ID{}, fmt.Errorf("%q is %w", clip(s), ErrID) }
	parts := strings.Split(s, ".")
	if len(parts) < 3 || len(parts) > 4 {
		return bad()
	}
	id := ID{Node: parts[2]}
	var err error
	if id.Run, err = eventlog.ParseRunID(parts[0]); err != nil || id.Run.IsSystem() {
		return bad()
	}
	if id.Visit, err = strconv.Atoi(parts[1]); err != nil || id.Visit < 1 {
		return bad()
	}
	if len(parts) == 4 {
		item, err := strconv.Atoi(parts[3])
		if err != nil {
			return bad()
		}
		id.Node = run.ItemName(parts[2], item)
	}
	if id.String() != s { // one spelling for each: what is written otherwise was not handed out
		return bad()
	}
	return id, nil
}

func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "…"
	}
	return s
}

// Claim is what a token says: who was handed which attempt.
type Claim struct {
	Attempt int    `json:"attempt"`
	Worker  string `json:"worker"`
}

// ErrToken: a token was not handed out for the task, or by another book.
var ErrToken = errors.New("this token was not handed out for this task")

const macLen = 16 // bytes of the code: enough that guessing is hopeless

// Token returns the token of a claim on a task.
func (b *Book) Token(id ID, c Claim) string {
	return strconv.Itoa(c.Attempt) + "." + base64.RawURLEncoding.EncodeToString([]byte(c.Worker)) + "." +
		base64.RawURLEncoding.EncodeToString(b.code(id, c))
}

// Claim returns what a token of a task says, or ErrToken.
func (b *Book) Claim(id ID, token string) (Claim, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return Claim{}, ErrToken
	}
	attempt, err := strconv.Atoi(parts[0])
	if err != nil {
		return Claim{}, ErrToken
	}
	worker, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return Claim{}, ErrToken
	}
	code, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil {
		return Claim{}, ErrToken
	}
	c := Claim{Attempt: attempt, Worker: string(worker)}
	if !hmac.Equal(code, b.code(id, c)) {
		return Claim{}, ErrToken
	}
	return c, nil
}

func (b *Book) code(id ID, c Claim) []byte {
	h := hmac.New(sha256.New, b.key[:])
	for _, part := range []string{id.String(), strconv.Itoa(c.Attempt), c.Worker} {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(part)))
		h.Write(n[:])
		h.Write([]byte(part))
	}
	return h.Sum(nil)[:macLen]
}
