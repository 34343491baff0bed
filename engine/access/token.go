package access

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"
	"time"
)

// Prefix begins every token, so that one that has leaked is recognized as such.
const Prefix = "wfd_"

const (
	idBytes     = 5  // 8 characters
	secretBytes = 32 // 256 bits
	maxName     = 64
	maxTokens   = 10_000 // in force at once
	maxLife     = 10 * 365 * 24 * time.Hour
)

var letters = base32.StdEncoding.WithPadding(base32.NoPadding)

// mint returns a new token and the part of it that may be shown.
func mint() (id, text string) {
	var b [idBytes + secretBytes]byte
	rand.Read(b[:]) // never fails: see crypto/rand
	id = strings.ToLower(letters.EncodeToString(b[:idBytes]))
	return id, Prefix + id + "_" + strings.ToLower(letters.EncodeToString(b[idBytes:]))
}

// idOf returns the part of a token that may be shown; ok is false if text is not of
// the form of a token.
func idOf(text string) (id string, ok bool) {
	rest, ok := strings.CutPrefix(text, Prefix)
	if !ok {
		return "", false
	}
	id, secret, ok := strings.Cut(rest, "_")
	return id, ok && len(id) == letters.EncodedLen(idBytes) && len(secret) == letters.EncodedLen(secretBytes)
}

func hashOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

var nameForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

func checkName(name string) error {
	if len(name) > maxName || !nameForm.MatchString(name) {
		return fmt.Errorf("%w: name %q: want up to %d letters, digits, dots, hyphens and underscores", ErrInvalid, name, maxName)
	}
	return nil
}
