package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/wfd-dev/wfd/engine/machine"
	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// Import is what was taken out of another log: a run, and all that it stands on.
type Import struct {
	// Log has the events, with the seqs and versions that they had there, and those
	// that registered the definitions.
	Log eventlog.Log
	Run eventlog.RunID // the run that it is about
	// Runs are all that are in it.
	Runs []eventlog.RunID
	// Mark is what is said of each run in its last event.
	Mark event.RunImported
}

// Imported is what became of an Import.
type Imported struct {
	Runs []ImportedRun `json:"runs"`
	// Definitions are those that were not known here.
	Definitions []Registered `json:"definitions"`
}

// ImportedRun is a run of an Import.
type ImportedRun struct {
	ID       eventlog.RunID `json:"id"`
	Workflow string         `json:"workflow"`
	Status   run.Status     `json:"status"`
	Events   int            `json:"events"`            // that were taken over
	There    bool           `json:"there,omitempty"`   // it was here before, the same
	Partial  bool           `json:"partial,omitempty"` // its beginning alone: another was forked from it
}

// MaxImport is how many events of one run can be imported: they are one append, so
// that no crash leaves a run that looks as if it were under way.
const MaxImport = eventlog.MaxRecords - 1

// Import takes over runs of another log: their events as they are, but for actors,
// which are marked as another log's, and an event behind them that says where they
// are from, and who has imported them. A run that had not ended is paused: nothing is
// executed. A run that is here already, and begins with the same events, stays as it
// is; ErrExists if it is another one. All is checked before anything is stored; a
// crash leaves some of the runs, and importing again adds the rest.
func (e *Engine) Import(ctx context.Context, im Import, by By) (Imported, error) {
	out := Imported{Runs: []ImportedRun{}, Definitions: []Registered{}}
	if err := e.accepting(false); err != nil {
		return out, err
	}
	e.importing.Lock()
	defer e.importing.Unlock()
	x := &importer{
		e: e, ctx: ctx, im: im, by: by, definitions: map[string]*event.DefinitionRegistered{},
		among: map[eventlog.RunID]bool{}, placed: map[eventlog.RunID]bool{}, needed: map[asked]bool{},
	}
	for _, id := range im.Runs {
		x.among[id] = true
	}
	if err := x.prepare(); err != nil {
		return out, err
	}
	for _, p := range x.missing {
		if err := x.register(p); err != nil {
			return out, err
		}
		out.Definitions = append(out.Definitions, Registered{Name: p.Name, Version: p.Version, Hash: p.Hash})
	}
	for _, r := range x.runs {
		if err := x.append(r); err != nil {
			return out, err
		}
		out.Runs = append(out.Runs, r.ImportedRun)
	}
	return out, nil
}

type importer struct {
	e   *Engine
	ctx context.Context
	im  Import
	by  By

	definitions map[string]*event.DefinitionRegistered // of the import, by hash
	missing     []*event.DefinitionRegistered          // that are needed and not known here
	needed      map[asked]bool                         // by namespace and hash
	among       map[eventlog.RunID]bool                // the runs of the import
	placed      map[eventlog.RunID]bool
	runs        []*importRun // in the order in which they are stored
}

type importRun struct {
	ImportedRun
	events []eventlog.Event
	state  *run.State
}

// prepare reads and checks all of the import.
func (x *importer) prepare() error {
	if err := x.readDefinitions(); err != nil {
		return err
	}
	for _, id := range append([]eventlog.RunID{x.im.Run}, x.im.Runs...) {
		if err := x.place(id); err != nil {
			return err
		}
	}
	for _, r := range x.runs {
		if err := x.define(r.state.Namespace, r.state.Hash); err != nil {
			return fmt.Errorf("run %s: %w", r.ID, err)
		}
	}
	return nil
}

func (x *importer) readDefinitions() error {
	for after := eventlog.Version(0); ; {
		page, err := x.im.Log.ReadRun(projection.Workflows, after, loadPage)
		if err != nil || len(page) == 0 {
			return err
		}
		for _, ev := range page {
			after = ev.Version
			if ev.Erased {
				continue
			}
			p, err := event.Decode(ev.Kind, ev.Payload)
			if err != nil {
				return invalidImport(projection.Workflows, err)
			}
			if p, ok := p.(*event.DefinitionRegistered); ok {
				x.definitions[p.Hash] = p
			}
		}
	}
}

func invalidImport(id eventlog.RunID, err error) error {
	return fmt.Errorf("%w: run %s cannot be imported: %w", machine.ErrInvalid, id, err)
}

// place reads and checks a run, after those that it stands on: a fold of it, or a
// view of it, finds them before it.
func (x *importer) place(id eventlog.RunID) error {
	if x.placed[id] {
		return nil
	}
	x.placed[id] = true
	r := &importRun{ImportedRun: ImportedRun{ID: id}}
	for {
		page, err := x.im.Log.ReadRun(id, eventlog.Version(len(r.events)), loadPage)
		if err != nil {
			return err
		}
		if len(page) == 0 {
			break
		}
		if r.events = append(r.events, page...); len(r.events) > MaxImport {
			return fmt.Errorf("%w: run %s has more than %d events, which is what can be imported", eventlog.ErrTooLarge, id, MaxImport)
		}
	}
	if len(r.events) == 0 {
		return invalidImport(id, errors.New("it has no events"))
	}
	if err := x.check(r); err != nil {
		return err
	}
	if o := r.state.Origin; o != nil {
		if err := x.place(o.Run); err != nil {
			return err
		}
	}
	if p := r.state.Parent; p != nil && x.among[p.Run] {
		if err := x.place(p.Run); err != nil {
			return err
		}
	}
	x.runs = append(x.runs, r)
	return nil
}

// check sees to it that nothing gets into the log that the log, the fold or the
// views could not take. It trusts no event.
func (x *importer) check(r *importRun) (err error) {
	defer func() {
		if p := recover(); p != nil { // a fold that an event has misled
			err = invalidImport(r.ID, fmt.Errorf("its events do not fit together: %v", p))
		}
	}()
	a := eventlog.Append{ID: 1, Run: r.ID}
	for i := range r.events {
		ev := &r.events[i]
		if ev.Erased {
			return fmt.Errorf("%w: run %s: the payload of version %d was erased, so that the run cannot be imported: it can be looked at in its capsule", machine.ErrInvalid, r.ID, ev.Version)
		}
		if err := event.Check(ev.Kind, ev.Payload); err != nil {
			return invalidImport(r.ID, fmt.Errorf("version %d: %w", ev.Version, err))
		}
		if ev.Run != r.ID || ev.Version != eventlog.Version(i+1) {
			return invalidImport(r.ID, fmt.Errorf("version %d is not there", i+1))
		}
		ev.Actor = event.ImportedActor(ev.Actor)
		a.Records = append(a.Records, eventlog.Record{Time: ev.Time, Kind: ev.Kind, Actor: ev.Actor, Payload: ev.Payload})
	}
	if err := a.Validate(); errors.Is(err, eventlog.ErrTooLarge) {
		return fmt.Errorf("run %s cannot be imported: %w", r.ID, err)
	} else if err != nil {
		return invalidImport(r.ID, err)
	}
	if err := projection.Foldable(r.ID, r.events); err != nil {
		return invalidImport(r.ID, err)
	}
	if r.state, err = run.Fold(x.im.Log, r.ID, run.Newest); err != nil {
		return invalidImport(r.ID, err)
	}
	if !r.state.Namespace.Valid() {
		return invalidImport(r.ID, fmt.Errorf("%w: %q", event.ErrNamespace, string(r.state.Namespace)))
	}
	r.Workflow, r.Status = r.state.Workflow, r.state.Status
	if !r.Status.Terminal() {
		r.Status = run.Paused
	}
	return x.compare(r)
}

// compare finds out whether the run is here already.
func (x *importer) compare(r *importRun) error {
	for after := eventlog.Version(0); ; {
		page, err := x.e.log.ReadRun(r.ID, after, loadPage)
		if err != nil {
			return err
		}
		for _, have := range page {
			if after = have.Version; int(after) > len(r.events) {
				break // it went on here
			}
			got := &r.events[after-1]
			if have.Kind != got.Kind || have.Time != got.Time || !have.Erased && !bytes.Equal(have.Payload, got.Payload) ||
				event.OriginalActor(have.Actor) != event.OriginalActor(got.Actor) {
				return fmt.Errorf("%w: run %s is here, and is another one from version %d on", ErrExists, r.ID, after)
			}
		}
		switch {
		case int(after) >= len(r.events):
			row, err := x.e.views.Run(x.ctx, r.ID)
			r.There, r.Status = true, row.Status
			return err
		case len(page) == 0 && after == 0:
			r.Events = len(r.events)
			return nil
		case len(page) == 0:
			return fmt.Errorf("%w: run %s is here, and has %d events: it went on elsewhere", ErrExists, r.ID, after)
		}
	}
}

// define sees to it that a definition will be known here.
func (x *importer) define(n event.Namespace, hash string) error {
	key := asked{namespace: n, name: hash}
	if x.needed[key] {
		return nil
	}
	x.needed[key] = true
	_, err := x.e.views.DefinitionIn(x.ctx, n, hash)
	if err == nil || !errors.Is(err, projection.ErrNotFound) {
		return err
	}
	p := x.definitions[hash]
	if p == nil {
		return fmt.Errorf("%w: its definition is neither here nor in the capsule", machine.ErrInvalid)
	}
	wf, problems := workflow.Load(p.Name+".json", []byte(p.Definition))
	if wf == nil {
		return fmt.Errorf("%w: its definition does not compile here: %w", machine.ErrInvalid, problems)
	}
	if wf.Hash.String() != hash {
		return fmt.Errorf("%w: its definition is not the one with hash %s", machine.ErrInvalid, hash)
	}
	own := *p
	own.Namespace = n
	x.missing = append(x.missing, &own)
	return nil
}

// register makes a definition known by its hash. It takes no name: the newest
// version of a name is what was registered here.
func (x *importer) register(p *event.DefinitionRegistered) error {
	own := *p
	if own.Origin = x.im.Mark.Origin; own.Origin == "" {
		own.Origin = "elsewhere"
	}
	x.e.defs.register.Lock()
	defer x.e.defs.register.Unlock()
	_, err := appendFact(x.ctx, x.e.log, projection.Workflows, &own, x.by.Actor, x.e.now())
	return x.e.stored(err)
}

// append stores a run. If we crash here, it is there as a whole, marked and paused,
// or not at all.
func (x *importer) append(r *importRun) error {
	if r.There {
		return nil
	}
	last := r.events[len(r.events)-1]
	mark := x.im.Mark
	mark.Last = last.Seq
	mark.Partial = x.partial(r)
	r.Partial = mark.Partial
	if !r.state.Status.Terminal() {
		mark.Pause = "imported"
		if mark.Origin != "" {
			mark.Pause += " from " + mark.Origin
		}
		if p := r.state.Parent; p != nil && x.among[p.Run] {
			mark.Pause = reasonPaused // it is resumed with its parent
		}
	}
	a := eventlog.Append{ID: appendID(), Run: r.ID}
	for _, ev := range r.events {
		a.Records = append(a.Records, eventlog.Record{Time: ev.Time, Kind: ev.Kind, Actor: ev.Actor, Payload: ev.Payload})
	}
	a.Records = append(a.Records, eventlog.Record{
		Time: max(int64(x.e.now()), last.Time), Kind: mark.Kind(), Actor: x.by.Actor, Payload: event.Encode(&mark),
	})
	_, err := x.e.log.Append(context.WithoutCancel(x.ctx), a)
	if errors.Is(err, eventlog.ErrConflict) {
		return fmt.Errorf("%w: run %s was started here meanwhile", ErrExists, r.ID)
	}
	return x.e.stored(err)
}

// partial reports whether a run is there only because others were forked from it.
func (x *importer) partial(r *importRun) bool {
	if r.ID == x.im.Run || r.state.Status.Terminal() {
		return false
	}
	for _, o := range x.runs {
		if f := o.state.Origin; f != nil && f.Run == r.ID && f.At == eventlog.Version(len(r.events)) {
			return true
		}
	}
	return false
}
