package audit

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

// This file is the only one that knows golang.org/x/mod/sumdb/note: the signed
// notes of the C2SP, here always with Ed25519.

// generateKey makes a key pair of the given name.
func generateKey(name string) (private, public string, err error) {
	return note.GenerateKey(rand.Reader, name)
}

// signer is a private key.
type signer struct {
	note.Signer
	public string // of the pair
}

// parseSigner reads a private key, and derives its public one.
func parseSigner(private string) (*signer, error) {
	s, err := note.NewSigner(private)
	if err != nil {
		return nil, errors.New("not a private key") // never with what was read
	}
	// PRIVATE+KEY+name+hash+base64, where the last may have a plus of its own.
	seed, err := base64.StdEncoding.DecodeString(strings.SplitN(private, "+", 5)[4])
	if err != nil {
		return nil, errors.New("not a private key")
	}
	pub := ed25519.NewKeyFromSeed(seed[1:]).Public().(ed25519.PublicKey)
	public, err := note.NewEd25519VerifierKey(s.Name(), pub)
	if err != nil {
		return nil, err
	}
	return &signer{s, public}, nil
}

// verifier is a public key.
type verifier struct {
	note.Verifier
	text string // as it is written in files
}

// parseVerifier reads a public key: "name+hash+base64", in its one form.
func parseVerifier(public string) (verifier, error) {
	v, err := note.NewVerifier(public)
	if err == nil {
		var raw []byte
		raw, err = base64.StdEncoding.DecodeString(strings.SplitN(public, "+", 3)[2])
		if err == nil && len(raw) == 1+ed25519.PublicKeySize {
			var again string
			if again, err = note.NewEd25519VerifierKey(v.Name(), raw[1:]); err == nil && again == public {
				return verifier{v, public}, nil
			}
		}
	}
	return verifier{}, fmt.Errorf("%.100q is not a public key", public)
}

// signNote signs text, which ends in a newline.
func signNote(text string, by ...*signer) ([]byte, error) {
	signers := make([]note.Signer, len(by))
	for i, s := range by {
		signers[i] = s
	}
	return note.Sign(&note.Note{Text: text}, signers...)
}

// openNote returns the text of a note and those of the known keys that signed
// it, of which there is at least one. Signatures by others are passed over.
func openNote(msg []byte, known []verifier) (text string, by []verifier, err error) {
	list := make([]note.Verifier, len(known))
	for i, v := range known {
		list[i] = v
	}
	n, err := note.Open(msg, note.VerifierList(list...))
	if err != nil {
		return "", nil, fmt.Errorf("%w: %w", ErrSignature, err)
	}
	for _, s := range n.Sigs {
		if raw, err := base64.StdEncoding.Strict().DecodeString(s.Base64); err != nil || len(raw) != 4+ed25519.SignatureSize {
			return "", nil, fmt.Errorf("%w: a signature that is not written in its one form", ErrSignature)
		}
		for _, v := range known {
			if v.Name() == s.Name && v.KeyHash() == s.Hash {
				by = append(by, v)
			}
		}
	}
	return n.Text, by, nil
}

// keyID names a key in messages.
func keyID(public string) string {
	name, rest, _ := strings.Cut(public, "+")
	id, _, _ := strings.Cut(rest, "+")
	return name + "+" + id
}
