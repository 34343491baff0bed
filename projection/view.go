package projection

import (
	"fmt"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
)

// A view is a set of rows folded from the log. All views share one cursor and
// one transaction, so that they are always of the same moment. A new one is a
// file with its type and a line in views.
type view interface {
	name() string
	// version is raised when the same events would make other rows. Rows of
	// another version are thrown away and rebuilt.
	version() int
	// buckets are where its rows are; no two views share one.
	buckets() []string
	// begin opens a batch of events.
	begin(w *writer) fold
}

// A fold takes the events of one batch in order. It keeps what they change in
// memory and hands it to the writer once, in finish, so that a row is written
// once per batch.
type fold interface {
	apply(f *fact) error
	finish() error
}

// views is every view there is. The order is on disk only in the signature.
var views = []view{runsView{}, openView{}, definitionsView{}, costView{}, triggersView{}}

// signature says how the rows were made. A file with another one is not read.
func signature() string {
	s := fmt.Sprintf("format %d", fileFormat)
	for _, v := range views {
		s += fmt.Sprintf(", %s %d", v.name(), v.version())
	}
	return s
}

// A fact is an event whose payload is decoded once, when a view first asks.
type fact struct {
	eventlog.Event
	payload event.Payload
}

// on decodes f's payload and hands it to do. Where nothing is left of it, do gets
// the zero payload.
func on[P event.Payload](f *fact, do func(P)) error {
	if f.payload == nil {
		b := f.Event.Payload
		if f.Erased && len(b) == 0 {
			b = []byte{0x90}
		}
		p, err := event.Decode(f.Kind, b)
		if err != nil {
			return err
		}
		f.payload = p
	}
	p, ok := f.payload.(P)
	if !ok {
		return fmt.Errorf("%w: a %s as %T", event.ErrUnknown, event.KindName(f.Kind), p)
	}
	do(p)
	return nil
}

// try is on for what may fail.
func try[P event.Payload](f *fact, do func(P) error) (err error) {
	if bad := on(f, func(p P) { err = do(p) }); bad != nil {
		return bad
	}
	return err
}
