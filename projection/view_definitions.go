package projection

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
)

// Buckets of the definitions. Their text stays in the log: a row has the
// sequence number of its event.
const (
	bucketNames    = "definitions.names"    // namespace, name with letter case and - folded, name → newest version
	bucketVersions = "definitions.versions" // namespace, name, version → row
	bucketHashes   = "definitions.hashes"   // hash, namespace → name and version of the first with it there
)

// Workflows is the system stream that definitions are registered in.
var Workflows = eventlog.System("workflows")

// Erasures is the system stream that says which payloads were erased.
var Erasures = eventlog.System("erasures")

// definitionsView keeps names, versions and hashes of definitions.
type definitionsView struct{}

func (definitionsView) name() string         { return "definitions" }
func (definitionsView) version() int         { return 2 }
func (definitionsView) buckets() []string    { return []string{bucketNames, bucketVersions, bucketHashes} }
func (definitionsView) begin(w *writer) fold { return definitionsFold{w} }

// definitionsFold writes at once: definitions are few.
type definitionsFold struct{ w *writer }

func (f definitionsFold) finish() error { return nil }

func (f definitionsFold) apply(e *fact) error {
	if e.Run != Workflows {
		return nil
	}
	if e.Kind != event.KindDefinitionRegistered {
		return fmt.Errorf("%w: a %s among the definitions", event.ErrUnknown, event.KindName(e.Kind))
	}
	var p event.DefinitionRegistered
	if err := on(e, func(q *event.DefinitionRegistered) { p = *q }); err != nil || e.Erased {
		return err
	}
	var row encoder
	row.str(p.Hash)
	row.uint(uint64(e.Seq))
	row.int(e.Time)
	name := p.Name
	if p.Origin != "" { // no name that a definition can be registered under
		name += "@" + p.Origin
	}
	key := versionKey(p.Namespace, name, p.Version)
	if err := f.replace(bucketVersions, key, row); err != nil {
		return err
	}
	hash := part(part(nil, p.Hash), string(p.Namespace))
	if old, err := f.w.get(bucketHashes, hash); err != nil {
		return err
	} else if old == nil {
		var row encoder
		row.str(name)
		row.uint(uint64(p.Version))
		if err := f.w.set(bucketHashes, hash, nil, row); err != nil {
			return err
		}
	}
	if p.Origin != "" {
		return nil
	}
	named := part(part(of(p.Namespace), sameName(p.Name)), p.Name)
	old, err := f.w.get(bucketNames, named)
	if err != nil {
		return err
	}
	if old != nil {
		d := decoder{b: old}
		if d.str(); d.uint() >= uint64(p.Version) {
			return nil
		}
	}
	var newest encoder
	newest.str(p.Name)
	newest.uint(uint64(p.Version))
	return f.w.set(bucketNames, named, old, newest)
}

func (f definitionsFold) replace(bucket string, key, value []byte) error {
	old, err := f.w.get(bucket, key)
	if err != nil {
		return err
	}
	return f.w.set(bucket, key, old, value)
}

func versionKey(n event.Namespace, name string, version int) []byte {
	return binary.BigEndian.AppendUint64(part(of(n), name), uint64(version))
}

// dashes makes the separators of names one.
var dashes = strings.NewReplacer("_", "-", " ", "-")

// sameName folds what two names may differ in and still be taken for each other:
// letter case, - and _.
func sameName(name string) string {
	return dashes.Replace(strings.ToLower(name))
}
