package api

import (
	"bufio"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/eventlog/audit"
	"github.com/wfd-dev/wfd/projection/event"
)

// Audit is where the API has its auditor from. All may be called at the same
// time.
type Audit interface {
	// Auditor returns the auditor of the log; the first call makes the log's key.
	Auditor() (*audit.Auditor, error)
	// Rotations returns the content of audit.keys.
	Rotations() ([]byte, error)
	// Rotate makes a new key, signed off by the present one, and an event of it.
	Rotate(ctx context.Context, actor, reason string) error
}

// AuditHead is what the log is signed for.
type AuditHead struct {
	Origin     string `json:"origin" doc:"the name of the log"`
	Size       uint64 `json:"size" doc:"events that are signed for: all there were when this was answered"`
	Root       string `json:"root" doc:"of the tree over them, in hex"`
	Checkpoint string `json:"checkpoint" doc:"the signed note: keep it where the owner of the log cannot write"`
	Key        string `json:"key" doc:"the public key that it is signed with"`
}

// AuditKeys are the public keys of the log.
type AuditKeys struct {
	Origin    string `json:"origin"`
	Key       string `json:"key" doc:"the public key that signs now"`
	Rotations string `json:"rotations,omitempty" doc:"how older keys lead to it: the content of audit.keys"`
}

// document is a document that is verified byte for byte.
type document struct {
	ContentType string `header:"Content-Type"`
	Body        []byte
}

type exportInput struct {
	From    eventlog.Seq `query:"from" doc:"the first event; 0: that of the log"`
	To      eventlog.Seq `query:"to" doc:"the last event; 0: that of the log"`
	Format  audit.Format `query:"format" enum:"jsonl,cloudevents" default:"jsonl" doc:"jsonl proves itself; cloudevents is for other systems to take in"`
	Conceal bool         `query:"conceal" doc:"leave out the payloads: their salted hashes stand for them"`
}

type rotateInput struct {
	Body *struct {
		Reason string `json:"reason,omitempty" maxLength:"1024" doc:"why; it stays in the audit trail"`
	}
}

// audits registers what proves the log to others. The path of an append is
// nowhere near it.
func (a *API) audits(h huma.API) {
	const tag = "audit"
	register(h, operation{method: "GET", path: "/v1/audit/head", id: "audit-head", tag: tag,
		summary: "The log as it is now, signed: a checkpoint and the public key"},
		func(context.Context, *struct{}) (*answer[AuditHead], error) {
			x, err := a.auditor()
			if err != nil {
				return nil, err
			}
			c, note, err := x.Sign()
			if err != nil {
				return nil, auditProblem(err)
			}
			return &answer[AuditHead]{AuditHead{c.Origin, c.Size, hex.EncodeToString(c.Root[:]), string(note), x.PublicKey()}}, nil
		})
	register(h, operation{method: "GET", path: "/v1/audit/proof", id: "audit-proof", tag: tag,
		summary: "The proof that an event is in the log: verified with the public key alone"},
		func(ctx context.Context, in *struct {
			Seq     eventlog.Seq `query:"seq" required:"true" minimum:"1"`
			Conceal bool         `query:"conceal" doc:"leave out the payload: its salted hash stands for it"`
		}) (*document, error) {
			if head := a.o.Log.Head(); in.Seq > head {
				return nil, problem("not-found", fmt.Sprintf("no event has seq %d: the log has %d", in.Seq, head), "")
			}
			if seen := a.sight(ctx); seen != nil {
				at, err := a.o.Log.ReadFrom(in.Seq-1, 1)
				if err != nil || len(at) == 0 || !seen(at[0]) {
					return nil, problem("not-found", fmt.Sprintf("no event of namespace %s has seq %d", namespace(ctx), in.Seq), "")
				}
			}
			x, err := a.auditor()
			if err != nil {
				return nil, err
			}
			return proven(x.Prove(in.Seq, in.Conceal))
		})
	register(h, operation{method: "GET", path: "/v1/audit/consistency", id: "audit-consistency", tag: tag,
		summary: "The proof that between two checkpoints the log was only appended to"},
		func(_ context.Context, in *struct {
			From uint64 `query:"from" required:"true" doc:"size of the earlier checkpoint"`
			To   uint64 `query:"to" doc:"size of the later one; 0: the last"`
		}) (*document, error) {
			x, err := a.auditor()
			if err != nil {
				return nil, err
			}
			last, _ := x.Last()
			if to := max(in.To, last.Size*b2u(in.To == 0)); in.From > to {
				return nil, problem("invalid", fmt.Sprintf("a log of %d events does not come before one of %d", in.From, to), "the smaller size is the first")
			}
			return proven(x.Consistency(in.From, in.To))
		})
	register(h, operation{method: "GET", path: "/v1/audit/keys", id: "audit-keys", tag: tag,
		summary: "The public key of the log, and how older ones lead to it"},
		func(context.Context, *struct{}) (*answer[AuditKeys], error) {
			x, err := a.auditor()
			if err != nil {
				return nil, err
			}
			return a.auditKeys(x)
		})
	register(h, operation{method: "POST", path: "/v1/audit/rotate", id: "audit-rotate", tag: tag,
		summary: "Make a new key, signed off by the present one"},
		func(ctx context.Context, in *rotateInput) (*answer[AuditKeys], error) {
			x, err := a.auditor()
			if err != nil {
				return nil, err
			}
			actor, reason := by(ctx, Keyed{}).Actor, ""
			if in.Body != nil {
				reason = in.Body.Reason
			}
			if err := a.o.Audit.Rotate(ctx, actor, reason); err != nil {
				return nil, auditProblem(err)
			}
			a.o.Logger.Warn("the audit key was rotated", "by", actor, "key", x.PublicKey())
			return a.auditKeys(x)
		})
	register(h, operation{method: "GET", path: "/v1/audit/export", id: "audit-export", tag: tag,
		summary: "Events as NDJSON, in a form that proves itself"},
		func(_ context.Context, in *exportInput) (*huma.StreamResponse, error) {
			if head := a.o.Log.Head(); in.From > head || in.To > head {
				return nil, problem("not-found", fmt.Sprintf("no event has seq %d: the log has %d", max(in.From, in.To), head), "")
			}
			if in.To != 0 && in.From > in.To {
				return nil, problem("invalid", fmt.Sprintf("from seq %d to %d there is nothing", in.From, in.To), "")
			}
			x, err := a.auditor()
			if err != nil {
				return nil, err
			}
			return a.export(x, in)
		})
	register(h, operation{method: "GET", path: "/v1/audit/log", id: "audit-log", tag: tag,
		summary: "Who did what, when and how, in the order of the log"}, a.deeds)
}

// b2u is 1 for true.
func b2u(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

func (a *API) auditor() (*audit.Auditor, error) {
	if a.o.Audit == nil {
		return nil, problem("unsupported", "there is no auditor here", "")
	}
	x, err := a.o.Audit.Auditor()
	if err != nil {
		return nil, auditProblem(err)
	}
	return x, nil
}

func (a *API) auditKeys(x *audit.Auditor) (*answer[AuditKeys], error) {
	chain, err := a.o.Audit.Rotations()
	if err != nil {
		return nil, err
	}
	return &answer[AuditKeys]{AuditKeys{x.Origin(), x.PublicKey(), string(chain)}}, nil
}

func proven(doc []byte, err error) (*document, error) {
	if err != nil {
		return nil, auditProblem(err)
	}
	return &document{"application/json", doc}, nil
}

// AuditHint says what to do about a log that is not what it was signed for; it
// is "" for other errors.
func AuditHint(err error) string {
	switch {
	case errors.Is(err, audit.ErrTruncated):
		return "an old copy of the directory was put in its place, or events were cut off. Runs can go on, but nothing more is signed: " +
			"restore a newer backup; or stop the daemon and make a log of its own of it, with wfd restore --from, and tell those who verify it"
	case errors.Is(err, audit.ErrRewritten), errors.Is(err, audit.ErrForked):
		return "these are not the events that were signed for: somebody changed them, or an old copy of the directory was put in its place and has grown since. " +
			"Keep the directory as it is and run wfd audit verify on a copy"
	case errors.Is(err, audit.ErrRestored):
		return "that is how wfd restore leaves a log; whether it was right to restore it is for its owner to say: wfd audit log --kind log.restored has who did it, and why"
	case errors.Is(err, audit.ErrDamaged):
		return "stop the daemon and run wfd check, which names all that is damaged"
	}
	return ""
}

// auditProblem returns what an audit ended in as a problem.
func auditProblem(err error) error {
	var at *audit.Problem
	errors.As(err, &at)
	msg := err.Error()
	var p *Problem
	switch {
	case at != nil, errors.Is(err, audit.ErrDamaged), errors.Is(err, audit.ErrTruncated), errors.Is(err, audit.ErrRewritten),
		errors.Is(err, audit.ErrForked), errors.Is(err, audit.ErrSignature), errors.Is(err, audit.ErrProof):
		p = problem("corrupt", msg, AuditHint(err))
	case errors.Is(err, audit.ErrUnsigned):
		p = problem("not-found", msg, "GET /v1/audit/head, or wfd audit head, signs what is there; checkpoints.txt lists what was signed")
	case errors.Is(err, audit.ErrKey):
		p = problem("refused", msg, "docs/audit.md, section Keys")
	default:
		return err
	}
	if at != nil {
		p.Seq = at.From
		if !at.Run.IsZero() {
			p.Run = at.Run.String()
		}
	}
	return p
}

// Announced reads an event as one that says that the log's key is rotated, nil if it
// is another.
func Announced(kind eventlog.Kind, payload []byte) *audit.Rotation {
	if kind != event.KindKeyRotated || payload == nil {
		return nil
	}
	p, err := event.Decode(kind, payload)
	r, ok := p.(*event.KeyRotated)
	if err != nil || !ok {
		return nil
	}
	return &audit.Rotation{Number: r.Number, From: r.From, To: r.To, At: uint64(r.At)}
}

// Describe returns an event of an export as people read it.
func Describe(e eventlog.Event) (kind string, data json.RawMessage, err error) {
	v, err := event.ViewOf(e)
	if err != nil || e.Erased {
		return v.Kind, nil, err
	}
	data, err = json.Marshal(v.Data)
	return v.Kind, data, err
}

// export answers with events as they are read. It holds a place among the
// streams; a client that is too slow is dropped and goes on where it was.
func (a *API) export(x *audit.Auditor, in *exportInput) (*huma.StreamResponse, error) {
	select {
	case a.streams <- struct{}{}:
	default:
		p := problem("busy", fmt.Sprintf("%d streams are open already", maxStreams), "repeat the request a little later")
		p.retryAfter = "5"
		return nil, p
	}
	o := audit.ExportOptions{Format: in.Format, Describe: Describe}
	if in.Conceal {
		o.Conceal = func(eventlog.Event) bool { return true }
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		defer func() { <-a.streams }()
		r, w := humago.Unwrap(hc)
		ctx, cancel := a.until(r.Context())
		defer cancel()
		out := &timedWriter{w: w, rc: http.NewResponseController(w), media: "application/x-ndjson", limit: streamWrite}
		buf := bufio.NewWriterSize(out, 64<<10)
		last, err := x.Export(ctx, buf, in.From, in.To, o)
		if err == nil {
			err = buf.Flush()
		}
		switch {
		case err == nil, out.failed != nil: // there is nobody to tell
		case out.begun:
			if e := buf.Flush(); e == nil {
				json.NewEncoder(out).Encode(AsProblem(auditProblem(err))) // the last line: not one of an export
			}
		default:
			writeProblem(w, AsProblem(auditProblem(err)))
		}
		if err != nil && r.Context().Err() == nil {
			a.o.Logger.Info("an export broke off", "after", last, "error", err)
		}
	}}, nil
}

// timedWriter writes the body of a stream, with time for each write.
type timedWriter struct {
	w      http.ResponseWriter
	rc     *http.ResponseController
	media  string
	limit  time.Duration // of one write
	begun  bool
	failed error
}

func (t *timedWriter) Write(b []byte) (int, error) {
	if !t.begun {
		t.begun = true
		t.w.Header().Set("Content-Type", t.media)
		t.w.WriteHeader(http.StatusOK)
	}
	t.rc.SetWriteDeadline(time.Now().Add(t.limit)) // in a process of its own there is none
	n, err := t.w.Write(b)
	if err == nil {
		err = t.rc.Flush()
	}
	t.failed = err
	return n, err
}
