package projection

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
)

// ErrAmbiguous: a name stands for several workflows, which the error lists.
var ErrAmbiguous = errors.New("name is ambiguous")

// Definition is a registered version of a workflow.
type Definition struct {
	Namespace  event.Namespace `json:"namespace,omitempty"` // absent: the default one
	Name       string          `json:"name"`
	Version    int             `json:"version"`
	Hash       string          `json:"hash"`
	Registered event.Time      `json:"registered"`
	Seq        eventlog.Seq    `json:"seq"` // of its event
	// JSON is the canonical form and Source the text as it was handed in; lists
	// leave both out.
	JSON   string `json:"-"`
	Source string `json:"-"`
}

// Definitions returns a page of the workflows of a namespace in their newest version,
// by name.
func (v *Views) Definitions(ctx context.Context, n event.Namespace, cursor string, limit int) (defs []Definition, next string, err error) {
	return pages(ctx, v, "definitions "+n.String(), bucketNames, of(n), cursor, limit, func(r *reader, _, value []byte) (Definition, bool, error) {
		d := decoder{b: value}
		name, version := d.str(), int(d.uint())
		def, ok, err := r.definition(versionKey(n, name, version))
		if err == nil && !ok {
			err = damaged("version %d of workflow %s is missing", version, name)
		}
		return def, true, err
	})
}

// DefinitionVersions returns a page of the versions of a workflow, oldest first.
// The name is resolved as in Resolve.
func (v *Views) DefinitionVersions(ctx context.Context, n event.Namespace, name, cursor string, limit int) (defs []Definition, next string, err error) {
	if name, err = v.Resolve(ctx, n, name); err != nil {
		return nil, "", err
	}
	return pages(ctx, v, "versions of "+n.String()+" "+name, bucketVersions, part(of(n), name), cursor, limit,
		func(r *reader, key, _ []byte) (Definition, bool, error) { return r.definition(key) })
}

// Definition returns a version of a workflow with its text; version 0 is the
// newest. The name is resolved as in Resolve.
func (v *Views) Definition(ctx context.Context, n event.Namespace, name string, version int) (Definition, error) {
	name, err := v.Resolve(ctx, n, name)
	if err != nil {
		return Definition{}, err
	}
	return v.definition(ctx, fmt.Sprintf("version %d of workflow %s", version, name), func(r *reader) ([]byte, error) {
		if version != 0 {
			return versionKey(n, name, version), nil
		}
		b, err := r.get(bucketNames, part(part(of(n), sameName(name)), name))
		if b == nil || err != nil {
			return nil, err
		}
		d := decoder{b: b}
		d.str()
		return versionKey(n, name, int(d.uint())), nil
	})
}

// DefinitionByHash returns the definition with a hash and its text, under the
// name it first had in a namespace. What it does is the same in all of them.
func (v *Views) DefinitionByHash(ctx context.Context, hash string) (Definition, error) {
	return v.byHash(ctx, hash, part(nil, hash))
}

// DefinitionIn is DefinitionByHash for one that was registered in a namespace.
func (v *Views) DefinitionIn(ctx context.Context, n event.Namespace, hash string) (Definition, error) {
	return v.byHash(ctx, hash, part(part(nil, hash), string(n)))
}

func (v *Views) byHash(ctx context.Context, hash string, prefix []byte) (Definition, error) {
	return v.definition(ctx, "definition "+hash, func(r *reader) (found []byte, err error) {
		err = r.scan(bucketHashes, prefix, prefix, func(key, value []byte) (bool, error) {
			k, d := decoder{b: key}, decoder{b: value}
			k.str()
			found = versionKey(event.Namespace(k.str()), d.str(), int(d.uint()))
			return false, nil
		})
		return found, err
	})
}

// definition returns the definition at the key that find returns, and reads its
// text from the log.
func (v *Views) definition(ctx context.Context, what string, find func(*reader) ([]byte, error)) (Definition, error) {
	var def Definition
	var found bool
	err := v.read(ctx, func(r *reader) error {
		found = false
		key, err := find(r)
		if key == nil || err != nil {
			return err
		}
		def, found, err = r.definition(key)
		return err
	})
	if err != nil {
		return def, err
	}
	if !found {
		return def, fmt.Errorf("%s: %w", what, ErrNotFound)
	}
	at, err := v.log.ReadFrom(def.Seq-1, 1)
	if err != nil {
		return def, err
	}
	if len(at) == 0 || at[0].Seq != def.Seq {
		return def, fmt.Errorf("%s: the log has no event %d", what, def.Seq)
	}
	if at[0].Erased {
		return def, fmt.Errorf("%s: %w: %w", what, ErrErased, ErrNotFound)
	}
	err = on(&fact{Event: at[0]}, func(p *event.DefinitionRegistered) { def.JSON, def.Source = p.Definition, p.Source })
	return def, err
}

// definition decodes the row at a key of versions.
func (r *reader) definition(key []byte) (Definition, bool, error) {
	b, err := r.get(bucketVersions, key)
	if b == nil || err != nil {
		return Definition{}, false, err
	}
	k, d := decoder{b: key[:len(key)-8]}, decoder{b: b}
	def := Definition{Namespace: event.Namespace(k.str()), Name: k.str(), Hash: d.str(), Seq: eventlog.Seq(d.uint()), Registered: event.Time(d.int())}
	for _, c := range key[len(key)-8:] {
		def.Version = def.Version<<8 | int(c)
	}
	if k.done() != nil || d.done() != nil {
		return def, false, damaged("version %d of workflow %s does not decode", def.Version, def.Name)
	}
	return def, true, nil
}

// Resolve returns the name registered in a namespace that name stands for: itself, or else the
// one that differs only in letter case, -, _ and spaces, or else the one that
// begins with its words. ErrAmbiguous lists several, ErrNotFound says that there
// is none.
func (v *Views) Resolve(ctx context.Context, n event.Namespace, name string) (string, error) {
	names, err := v.alike(ctx, n, name)
	if err == nil && len(names) == 0 {
		names, err = v.beginning(ctx, n, name)
	}
	switch {
	case err != nil:
		return "", err
	case slices.Contains(names, name):
		return name, nil
	case len(names) == 0:
		return "", fmt.Errorf("workflow %q: %w", name, ErrNotFound)
	case len(names) > 1:
		return "", fmt.Errorf("workflow %q: %w: it may be %s", name, ErrAmbiguous, strings.Join(names, " or "))
	}
	return names[0], nil
}

// filterName returns the name that runs of a list must have to the letter, ""
// if no other name is like it.
func (v *Views) filterName(ctx context.Context, n event.Namespace, name string) (string, error) {
	names, err := v.alike(ctx, n, name)
	if err != nil || len(names) < 2 {
		return "", err
	}
	return v.Resolve(ctx, n, name)
}

// alike returns the registered names that name may stand for.
func (v *Views) alike(ctx context.Context, n event.Namespace, name string) ([]string, error) {
	var names []string
	prefix := part(of(n), sameName(name))
	err := v.read(ctx, func(r *reader) error {
		names = nil
		return r.scan(bucketNames, prefix, prefix, func(_, value []byte) (bool, error) {
			d := decoder{b: value}
			names = append(names, d.str())
			return true, nil
		})
	})
	return names, err
}

// beginning returns the registered names that begin with the words of name:
// "code-review" stands for "Code Review Workflow". It looks at every name, once
// there is none that is like it whole.
func (v *Views) beginning(ctx context.Context, n event.Namespace, name string) ([]string, error) {
	words := sameName(name) + "-"
	var names []string
	err := v.read(ctx, func(r *reader) error {
		names = nil
		return r.scan(bucketNames, of(n), of(n), func(_, value []byte) (bool, error) {
			d := decoder{b: value}
			if full := d.str(); strings.HasPrefix(sameName(full), words) {
				names = append(names, full)
			}
			return len(names) < maxAlike, nil
		})
	})
	return names, err
}

// maxAlike is how many names an ambiguity lists.
const maxAlike = 10
