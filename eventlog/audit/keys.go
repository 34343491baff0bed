package audit

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// Keys are the public keys of one log that a verifier trusts, and the tree
// sizes that each of them may sign. A Keys is not changed once it is made.
type Keys struct {
	origin string
	given  []verifier // trusted without more
	chain  []rotation // signed by one that is
}

// rotation is the passing on of a log's voice from one key to the next, signed
// by both. What the old key signs above the size, and what the new one signs
// below it, does not count.
type rotation struct {
	number   int // from 1
	from, to verifier
	at       Checkpoint
}

// rotationMark ends the first line of a rotation, so that it cannot be taken
// for a checkpoint, whose second line is a number and whose first is an origin.
const rotationMark = " key rotation"

// text is what both keys sign.
func (r *rotation) text() string {
	return fmt.Sprintf("%s%s\n%d\n%s\n%s\n%s", r.at.Origin, rotationMark, r.number, r.from.text, r.to.text, strings.Join(strings.SplitAfter(r.at.text(), "\n")[1:], ""))
}

// ParseKeys reads public keys, one a line, all of one log; empty lines and
// lines that begin with # are passed over. It reads what [Open] writes into
// audit.pub.
func ParseKeys(text []byte) (*Keys, error) {
	k := new(Keys)
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		v, err := parseVerifier(line)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrFormat, err)
		}
		if k.origin == "" {
			k.origin = v.Name()
		}
		if v.Name() != k.origin || !validOrigin(k.origin) {
			return nil, fmt.Errorf("%w: key %s is not of the log %s", ErrFormat, keyID(line), k.origin)
		}
		if !slices.ContainsFunc(k.given, func(o verifier) bool { return o.text == line }) {
			k.given = append(k.given, v)
		}
	}
	if len(k.given) == 0 {
		return nil, fmt.Errorf("%w: no public key", ErrFormat)
	}
	return k, nil
}

// Origin returns the origin of the log whose keys these are.
func (k *Keys) Origin() string { return k.origin }

// Follow returns the keys that k leads to along a chain of rotations, the
// content of audit.keys. One key of the chain must be in k, and the chain must
// agree with the one that k has already been led along: a key that was passed
// on twice is an error that Is [ErrForked].
func (k *Keys) Follow(chain []byte) (*Keys, error) {
	rotations, err := parseChain(chain)
	if err != nil || len(rotations) == 0 {
		return k, err
	}
	if rotations[0].at.Origin != k.origin {
		return nil, fmt.Errorf("%w: the keys of %s are not those of %s", ErrSignature, rotations[0].at.Origin, k.origin)
	}
	if !slices.ContainsFunc(k.given, func(v verifier) bool { return inChain(rotations, v.text) }) {
		return nil, fmt.Errorf("%w: no key of the chain from %s to %s is trusted", ErrSignature, keyID(rotations[0].from.text), keyID(rotations[len(rotations)-1].to.text))
	}
	for i := range min(len(rotations), len(k.chain)) {
		if rotations[i].text() != k.chain[i].text() {
			return nil, fmt.Errorf("%w: rotation %d of the keys of %s is known in two versions", ErrForked, i+1, k.origin)
		}
	}
	if len(rotations) <= len(k.chain) {
		return k, nil
	}
	return &Keys{origin: k.origin, given: k.given, chain: rotations}, nil
}

func inChain(chain []rotation, public string) bool {
	return slices.ContainsFunc(chain, func(r rotation) bool { return r.from.text == public || r.to.text == public })
}

// maxRotations bounds the work that a chain from outside can ask for.
const maxRotations = 1000

// parseChain reads and verifies a chain of rotations.
func parseChain(b []byte) (chain []rotation, err error) {
	notes, rest := splitNotes(b)
	if len(rest) != 0 || len(notes) > maxRotations {
		return nil, fmt.Errorf("%w: not a chain of keys", ErrFormat)
	}
	for i, n := range notes {
		r, err := parseRotation(n)
		if err != nil {
			return nil, fmt.Errorf("rotation %d: %w", i+1, err)
		}
		joined := i == 0 || chain[i-1].to.text == r.from.text && chain[i-1].at.Size <= r.at.Size && chain[i-1].at.Origin == r.at.Origin
		if r.number != i+1 || !joined || inChain(chain, r.to.text) {
			return nil, fmt.Errorf("%w: rotation %d does not go on from the one before", ErrFormat, i+1)
		}
		chain = append(chain, r)
	}
	return chain, nil
}

func parseRotation(msg []byte) (r rotation, err error) {
	bad := fmt.Errorf("%w: not a rotation of keys", ErrFormat)
	lines := strings.SplitAfter(string(msg), "\n")
	if len(lines) < 6 {
		return r, bad
	}
	origin, ok := strings.CutSuffix(strings.TrimSpace(lines[0]), rotationMark)
	if !ok {
		return r, bad
	}
	if _, err := fmt.Sscanf(lines[1], "%d\n", &r.number); err != nil {
		return r, bad
	}
	if r.from, err = parseVerifier(strings.TrimSuffix(lines[2], "\n")); err != nil {
		return r, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if r.to, err = parseVerifier(strings.TrimSuffix(lines[3], "\n")); err != nil {
		return r, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if r.at, err = parseCheckpoint(origin + "\n" + lines[4] + lines[5]); err != nil {
		return r, err
	}
	text, by, err := openNote(msg, []verifier{r.from, r.to})
	switch {
	case err != nil:
		return r, err
	case len(by) != 2 || r.from.text == r.to.text || r.from.Name() != origin || r.to.Name() != origin:
		return r, fmt.Errorf("%w: a rotation is signed by both keys", ErrSignature)
	case text != r.text():
		return r, bad
	}
	return r, nil
}

// verifiers returns all keys, each once.
func (k *Keys) verifiers() []verifier {
	all := slices.Clone(k.given)
	for _, r := range k.chain {
		all = append(all, r.from, r.to)
	}
	slices.SortFunc(all, func(a, b verifier) int { return strings.Compare(a.text, b.text) })
	return slices.CompactFunc(all, func(a, b verifier) bool { return a.text == b.text })
}

// maySign checks that one of the keys that signed c was the log's voice then.
func (k *Keys) maySign(by []verifier, c Checkpoint) error {
	if c.Origin != k.origin {
		return fmt.Errorf("%w: the checkpoint is of %s, the keys are of %s", ErrSignature, c.Origin, k.origin)
	}
	var why error
	for _, v := range by {
		from, to := uint64(0), uint64(math.MaxUint64)
		for _, r := range k.chain {
			if r.to.text == v.text {
				from = r.at.Size
			}
			if r.from.text == v.text {
				to = r.at.Size
			}
		}
		switch {
		case c.Size > to:
			why = fmt.Errorf("%w: key %s was replaced at size %d and has signed size %d", ErrSignature, keyID(v.text), to, c.Size)
		case c.Size < from:
			why = fmt.Errorf("%w: key %s began at size %d and has signed size %d", ErrSignature, keyID(v.text), from, c.Size)
		default:
			return nil
		}
	}
	return why
}

// rotations returns the checkpoints that the rotations themselves are.
func (k *Keys) rotations() (list []Checkpoint) {
	for _, r := range k.chain {
		list = append(list, r.at)
	}
	return list
}
