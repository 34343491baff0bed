package projection

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// Buckets of what is spent. What a run that was imported had spent elsewhere is in
// none of them: it is in the run's row alone.
const (
	bucketCosts   = "cost.days"   // day, namespace, workflow, agent, model, node → totals
	bucketRunCost = "cost.runs"   // day, namespace, run → totals
	bucketHolds   = "cost.holds"  // run, node, visit, attempt, turn → what is set aside
	bucketLimits  = "cost.limits" // scope, name → limits of a budget beyond one run
)

// costView keeps what was spent, on which day and for what; what is set aside; and the
// limits of budgets beyond one run.
type costView struct{}

func (costView) name() string { return "cost" }
func (costView) version() int { return 2 }
func (costView) buckets() []string {
	return []string{bucketCosts, bucketRunCost, bucketHolds, bucketLimits}
}
func (costView) begin(w *writer) fold {
	return &costFold{w: w, runs: map[eventlog.RunID]costRun{}, sums: map[indexName]*totalRow{}}
}

// indexName is a key of a bucket.
type indexName struct{ bucket, key string }

// totalRow is a row of totals as it was before the batch, and as it is now.
type totalRow struct {
	raw []byte
	CostTotals
}

type costFold struct {
	w    *writer
	runs map[eventlog.RunID]costRun
	sums map[indexName]*totalRow
}

// costRun is what costs are kept by of a run.
type costRun struct {
	namespace event.Namespace
	workflow  string
}

// CostTotals are what calls of models used.
type CostTotals struct {
	Calls  int64        `json:"calls"` // that were charged
	Input  int64        `json:"input_tokens"`
	Cached int64        `json:"cached_tokens"` // of Input
	Output int64        `json:"output_tokens"`
	Micros event.Micros `json:"micro_usd"`
	// Unpriced is how many of the tokens had no price that is known.
	Unpriced int64 `json:"unpriced_tokens,omitempty"`
}

// Spend is what a budget counts of t.
func (t *CostTotals) Spend() event.Spend {
	return event.Spend{Tokens: t.Input + t.Output, Micros: t.Micros}
}

// Add adds what others used.
func (t *CostTotals) Add(o CostTotals) {
	t.Calls += o.Calls
	t.Input += o.Input
	t.Cached += o.Cached
	t.Output += o.Output
	t.Micros += o.Micros
	t.Unpriced += o.Unpriced
}

// Day is the day on which what happens at t counts, as 2026-01-31, UTC.
func Day(t event.Time) string { return t.Std().Format(time.DateOnly) }

func (f *costFold) apply(e *fact) error {
	switch {
	case e.Run == event.Budgets:
		return f.limits(e)
	case e.Run.IsSystem(), event.IsImported(e.Actor):
		return nil
	}
	switch e.Kind {
	case event.KindRunCreated:
		return on(e, func(p *event.RunCreated) { f.runs[e.Run] = costRun{p.Namespace, p.Workflow} })
	case event.KindRunForked:
		return on(e, func(p *event.RunForked) { f.runs[e.Run] = costRun{p.Namespace, p.Workflow} })
	case event.KindCostReserved:
		return f.reserved(e)
	case event.KindCostSettled:
		return f.settled(e)
	}
	return nil
}

// run returns what costs are kept by of a run.
func (f *costFold) run(id eventlog.RunID) (costRun, error) {
	if r, ok := f.runs[id]; ok {
		return r, nil
	}
	row, _, err := f.w.row(id)
	r := costRun{row.Namespace, row.Workflow}
	if err == nil {
		f.runs[id] = r
	}
	return r, err
}

func (f *costFold) limits(e *fact) error {
	return try(e, func(p *event.BudgetRaised) error {
		key := part(part(nil, p.Budget.Scope), p.Budget.Name)
		var row encoder
		row.int(int64(p.Limits.Micros))
		row.int(p.Limits.Tokens)
		return f.replace(bucketLimits, key, row)
	})
}

// replace sets a row whatever it was.
func (f *costFold) replace(bucket string, key []byte, row encoder) error {
	old, err := f.w.get(bucket, key)
	if err != nil {
		return err
	}
	return f.w.set(bucket, key, old, row)
}

func holdKey(id eventlog.RunID, c event.CallID) []byte {
	key := part(id[:len(id):len(id)], c.Node)
	key = binary.BigEndian.AppendUint64(key, uint64(c.Visit))
	key = binary.BigEndian.AppendUint64(key, uint64(c.Attempt))
	return binary.BigEndian.AppendUint64(key, uint64(c.Turn))
}

func (f *costFold) reserved(e *fact) error {
	of, err := f.run(e.Run)
	if err != nil {
		return err
	}
	return try(e, func(p *event.CostReserved) error {
		var row encoder
		row.str(string(of.namespace))
		row.str(of.workflow)
		row.str(p.Agent)
		row.str(p.Node)
		row.int(p.Spend().Tokens)
		row.int(int64(p.Micros))
		row.int(e.Time)
		return f.replace(bucketHolds, holdKey(e.Run, p.CallID), row)
	})
}

func (f *costFold) settled(e *fact) error {
	by, err := f.run(e.Run)
	if err != nil {
		return err
	}
	return try(e, func(p *event.CostSettled) error {
		if err := f.release(e.Run, p.CallID); err != nil || p.Usage == nil {
			return err
		}
		u := p.Usage
		t := CostTotals{Calls: 1, Input: u.InputTokens, Cached: u.CachedTokens, Output: u.OutputTokens, Micros: p.Micros}
		if u.Price == nil {
			t.Unpriced = u.Tokens()
		}
		node := p.Node
		if of, _, ok := run.ItemOf(node); ok {
			node = of
		}
		d := Day(p.Since)
		key := []byte(d)
		for _, s := range []string{string(by.namespace), by.workflow, p.Agent, u.Model, node} {
			key = part(key, s)
		}
		if err := f.add(bucketCosts, key, t); err != nil {
			return err
		}
		return f.add(bucketRunCost, append(part([]byte(d), string(by.namespace)), e.Run[:]...), t)
	})
}

// release removes what is set aside for a call; one that names no turn stands for all
// calls of its attempt.
func (f *costFold) release(id eventlog.RunID, c event.CallID) error {
	key := holdKey(id, c)
	prefix := key
	if c.Turn == 0 {
		prefix = key[:len(key)-8]
	}
	var found []entry
	err := f.w.scan(bucketHolds, prefix, prefix, func(k, v []byte) (bool, error) {
		found = append(found, entry{bucketHolds, slices.Clone(k), slices.Clone(v), nil})
		return true, nil
	})
	if err != nil {
		return err
	}
	return f.w.setAll(found)
}

func (f *costFold) add(bucket string, key []byte, t CostTotals) error {
	name := indexName{bucket, string(key)}
	s := f.sums[name]
	if s == nil {
		s = &totalRow{}
		raw, err := f.w.get(bucket, key)
		if err != nil {
			return err
		}
		if raw != nil {
			if s.CostTotals, err = decodeTotals(raw); err != nil {
				return damaged("totals of cost: %v", err)
			}
			s.raw = slices.Clone(raw)
		}
		f.sums[name] = s
	}
	s.Add(t)
	return nil
}

func (f *costFold) finish() error {
	var out []entry
	for name, s := range f.sums {
		out = append(out, entry{name.bucket, []byte(name.key), s.raw, encodeTotals(s.CostTotals)})
	}
	return f.w.setAll(out)
}

func encodeTotals(t CostTotals) []byte {
	var e encoder
	for _, n := range []int64{t.Calls, t.Input, t.Cached, t.Output, int64(t.Micros), t.Unpriced} {
		e.int(n)
	}
	return e
}

func decodeTotals(b []byte) (t CostTotals, err error) {
	d := decoder{b: b}
	t.Calls, t.Input, t.Cached, t.Output = d.int(), d.int(), d.int(), d.int()
	t.Micros, t.Unpriced = event.Micros(d.int()), d.int()
	return t, d.done()
}

// CostKey says what totals are of.
type CostKey struct {
	Day       string
	Namespace event.Namespace
	Workflow  string
	Agent     string
	Model     string
	Node      string
	Run       eventlog.RunID // of totals by run; then only Day and Namespace are set too
}

func decodeCostKey(key []byte) (k CostKey, err error) {
	d := decoder{b: key}
	k.Day, k.Namespace = string(d.bytes(10)), event.Namespace(d.str())
	k.Workflow, k.Agent, k.Model, k.Node = d.str(), d.str(), d.str(), d.str()
	return k, d.done()
}

// Costs calls each with what was used from a day on, by day, workflow, agent, model and
// node.
func (v *Views) Costs(ctx context.Context, since string, each func(CostKey, CostTotals)) error {
	return v.eachCost(ctx, bucketCosts, since, func(key []byte, t CostTotals) error {
		k, err := decodeCostKey(key)
		if err == nil {
			each(k, t)
		}
		return err
	})
}

// RunCosts calls each with what runs used from a day on, by day and run.
func (v *Views) RunCosts(ctx context.Context, since string, each func(CostKey, CostTotals)) error {
	return v.eachCost(ctx, bucketRunCost, since, func(key []byte, t CostTotals) error {
		d := decoder{b: key}
		k := CostKey{Day: string(d.bytes(10)), Namespace: event.Namespace(d.str()), Run: d.run()}
		each(k, t)
		return d.done()
	})
}

// eachCost walks a bucket of totals in steps of one short snapshot each.
func (v *Views) eachCost(ctx context.Context, bucket, since string, each func([]byte, CostTotals) error) error {
	from := []byte(since)
	for from != nil {
		type pair struct {
			key []byte
			t   CostTotals
		}
		var page []pair
		err := v.read(ctx, func(r *reader) error {
			page = page[:0]
			return r.scan(bucket, nil, from, func(k, value []byte) (bool, error) {
				t, err := decodeTotals(value)
				if err != nil {
					return false, damaged("totals of cost: %v", err)
				}
				page = append(page, pair{slices.Clone(k), t})
				return len(page) < examine, nil
			})
		})
		if err != nil {
			return err
		}
		from = nil
		for _, p := range page {
			if err := each(p.key, p.t); err != nil {
				return damaged("totals of cost: %v", err)
			}
		}
		if len(page) == examine {
			from = append(page[len(page)-1].key, 0)
		}
	}
	return nil
}

// Hold is what is set aside for a call.
type Hold struct {
	Run      eventlog.RunID
	Call     event.CallID
	Workflow event.BudgetID // of its run
	Agent    string
	Spend    event.Spend
	Since    event.Time
}

// Ledger is what budgets beyond one run stand at, as of one event.
type Ledger struct {
	At     eventlog.Seq
	Costs  map[event.BudgetID]event.Spend // by workflow, by agent, and by day
	Holds  []Hold
	Limits map[event.BudgetID]event.Limits // a day's has no name: it is every day's
}

// Ledger returns the ledger as it stands.
func (v *Views) Ledger(ctx context.Context) (l Ledger, err error) {
	err = v.read(ctx, func(r *reader) error {
		l = Ledger{Costs: map[event.BudgetID]event.Spend{}, Limits: map[event.BudgetID]event.Limits{}}
		if l.At, err = r.cursor(); err != nil {
			return err
		}
		err = r.scan(bucketCosts, nil, nil, func(key, value []byte) (bool, error) {
			k, err := decodeCostKey(key)
			t, bad := decodeTotals(value)
			if err != nil || bad != nil {
				return false, damaged("totals of cost of %q", key)
			}
			for _, id := range []event.BudgetID{event.OfWorkflow(k.Namespace, k.Workflow), {Scope: event.ScopeOfAgent, Name: k.Agent}, {Scope: event.ScopeOfDay, Name: k.Day}} {
				l.Costs[id] = l.Costs[id].Add(t.Spend())
			}
			return true, nil
		})
		if err != nil {
			return err
		}
		if l.Holds, err = r.holds(nil); err != nil {
			return err
		}
		return r.scan(bucketLimits, nil, nil, func(key, value []byte) (bool, error) {
			d, x := decoder{b: key}, decoder{b: value}
			id := event.BudgetID{Scope: d.str(), Name: d.str()}
			lim := event.Limits{Micros: event.Micros(x.int()), Tokens: x.int()}
			if d.done() != nil || x.done() != nil {
				return false, damaged("limits of a budget")
			}
			l.Limits[id] = lim
			return true, nil
		})
	})
	return l, err
}

// TreeSpend returns what a run and all runs under it have spent and have set aside, as
// of one event.
func (v *Views) TreeSpend(ctx context.Context, root eventlog.RunID) (spent event.Spend, holds []Hold, at eventlog.Seq, err error) {
	err = v.read(ctx, func(r *reader) error {
		spent, holds = event.Spend{}, nil
		if at, err = r.cursor(); err != nil {
			return err
		}
		for todo := []eventlog.RunID{root}; len(todo) > 0; {
			id := todo[0]
			todo = todo[1:]
			row, _, err := r.row(id)
			if err != nil {
				return err
			}
			spent = spent.Add(row.Spent)
			own, err := r.holds(id[:])
			if err != nil {
				return err
			}
			holds = append(holds, own...)
			if err := r.scan(bucketChildren, id[:], id[:], func(_, child []byte) (bool, error) {
				if len(child) != len(id) {
					return false, damaged("a child of run %s has no name", id)
				}
				todo = append(todo, eventlog.RunID(child))
				return true, nil
			}); err != nil {
				return err
			}
		}
		return nil
	})
	return spent, holds, at, err
}

// cursor is the last event that is folded.
func (r *reader) cursor() (eventlog.Seq, error) {
	m, err := r.readMeta()
	return eventlog.Seq(m.cursor), err
}

// holds returns what is set aside, of the runs that a prefix names.
func (r *reader) holds(prefix []byte) (list []Hold, err error) {
	err = r.scan(bucketHolds, prefix, prefix, func(key, value []byte) (bool, error) {
		k, d := decoder{b: key}, decoder{b: value}
		h := Hold{Run: k.run()}
		h.Call.Node = k.str()
		if len(k.b) != 24 {
			return false, damaged("what is set aside for run %s", h.Run)
		}
		h.Call.Visit, h.Call.Attempt, h.Call.Turn = number(k.b), number(k.b[8:]), number(k.b[16:])
		h.Workflow = event.OfWorkflow(event.Namespace(d.str()), d.str())
		h.Agent, h.Call.Node = d.str(), d.str()
		h.Spend, h.Since = event.Spend{Tokens: d.int(), Micros: event.Micros(d.int())}, event.Time(d.int())
		if k.bad || d.done() != nil {
			return false, damaged("what is set aside for run %s", h.Run)
		}
		list = append(list, h)
		return true, nil
	})
	return list, err
}

func number(b []byte) int { return int(binary.BigEndian.Uint64(b)) }

// ParseBudget reads a budget beyond one run: day, workflow:NAME or agent:NAME.
func ParseBudget(s string) (event.BudgetID, error) {
	scope, name, _ := strings.Cut(s, ":")
	switch {
	case scope == event.ScopeOfDay && name == "":
		return event.BudgetID{Scope: scope}, nil
	case (scope == event.ScopeOfWorkflow || scope == event.ScopeOfAgent) && name != "" && len(name) <= maxPart:
		return event.BudgetID{Scope: scope, Name: name}, nil
	}
	return event.BudgetID{}, fmt.Errorf("%q is no budget: there is day, workflow:NAME, agent:NAME, or a run's ID", clip(s, 80))
}
