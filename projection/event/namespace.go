package event

import (
	"errors"
	"fmt"
	"regexp"
)

// Namespace keeps those apart who share a log: a run and a definition belong to one.
// The zero value is [DefaultNamespace], as in all events from before there were others.
type Namespace string

// DefaultNamespace is the name of the namespace of whatever names none.
const DefaultNamespace = "default"

// ErrNamespace marks a name that no namespace can have.
var ErrNamespace = errors.New("not a namespace")

// Letters that names of workflows have in common with no other: lists fold names, and
// two namespaces must not become one by it.
var namespaceForm = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// ParseNamespace reads a name; "" is the default one.
func ParseNamespace(s string) (Namespace, error) {
	if s == "" || s == DefaultNamespace {
		return "", nil
	}
	if !namespaceForm.MatchString(s) {
		return "", fmt.Errorf("%w: %.80q: want up to 63 small letters, digits and hyphens, with no hyphen at either end", ErrNamespace, s)
	}
	return Namespace(s), nil
}

// String returns the name.
func (n Namespace) String() string {
	if n == "" {
		return DefaultNamespace
	}
	return string(n)
}

// Valid reports whether n is as ParseNamespace returns it.
func (n Namespace) Valid() bool {
	parsed, err := ParseNamespace(string(n))
	return err == nil && parsed == n
}
