package api

import (
	"context"
	"errors"
	"syscall"

	"github.com/danielgtaylor/huma/v2"

	"github.com/wfd-dev/wfd/engine"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/eventlog/crypt"
)

type eraseInput struct {
	Keyed
	Body struct {
		Run     string `json:"run,omitempty" doc:"a run, which is erased with all runs under it"`
		Payload string `json:"payload,omitempty" doc:"the SHA-256 of a payload, as blobs are named, or the salted one of a proof or an export: that payload and its copies are erased"`
		Reason  string `json:"reason" minLength:"1" maxLength:"1024" doc:"why; it stays in the audit trail"`
		DryRun  bool   `json:"dry_run,omitempty" doc:"only say what would be erased"`
	}
}

type compactInput struct {
	Body struct {
		DryRun bool     `json:"dry_run,omitempty" doc:"only say what would be done"`
		Retain []string `json:"retain,omitempty" maxItems:"1000" doc:"policies instead of the daemon's: [WORKFLOW:]after=30d,runs=1000,bytes=10GB,drop,drop_after=365d"`
	}
}

type encryptionInput struct {
	Body struct {
		Rewrite bool   `json:"rewrite,omitempty" doc:"also write anew what was written before"`
		Reason  string `json:"reason,omitempty" maxLength:"1024" doc:"why; it stays in the audit trail"`
	}
}

// upkeep are the operations that keep what the log costs within bounds.
func (a *API) upkeep(h huma.API) {
	const tag = "upkeep"
	register(h, operation{method: "POST", path: "/v1/erasures", id: "erase", tag: tag,
		summary: "Take the content of a run, or a payload, out of every file; events, hashes and proofs stay"},
		func(ctx context.Context, in *eraseInput) (*answer[engine.Erasure], error) {
			r := engine.EraseRequest{Payload: in.Body.Payload, Reason: in.Body.Reason, DryRun: in.Body.DryRun}
			if (in.Body.Run == "") == (in.Body.Payload == "") {
				return nil, problem("invalid", "want either run or payload", "")
			}
			if in.Body.Run != "" {
				id, err := OfRun{in.Body.Run}.id()
				if err != nil {
					return nil, err
				}
				r.Run = id
			}
			done, err := a.o.Engine.Erase(ctx, r, by(ctx, in.Keyed))
			return answered(done, err)
		})
	register(h, operation{method: "POST", path: "/v1/compact", id: "compact", tag: tag,
		summary: "Let retention do now what it would do by and by, and give space back"},
		func(ctx context.Context, in *compactInput) (*answer[engine.Compaction], error) {
			var policy *engine.Retention
			if len(in.Body.Retain) > 0 {
				r, err := engine.ParseRetention(in.Body.Retain)
				if err != nil {
					return nil, err
				}
				policy = &r
			}
			done, err := a.o.Engine.Compact(ctx, policy, in.Body.DryRun)
			return answered(done, compactProblem(err))
		})
	register(h, operation{method: "GET", path: "/v1/usage", id: "usage", tag: tag,
		summary: "What takes how much room on the disk"},
		func(ctx context.Context, _ *struct{}) (*answer[engine.DiskUsage], error) {
			u, err := a.o.Engine.Usage(ctx)
			return answered(u, err)
		})
	register(h, operation{method: "GET", path: "/v1/encryption", id: "encryption", tag: tag,
		summary: "How much of the data directory is encrypted, with which keys"},
		func(ctx context.Context, _ *struct{}) (*answer[engine.Encryption], error) {
			x, err := a.o.Engine.Encryption(ctx)
			return answered(x, err)
		})
	register(h, operation{method: "POST", path: "/v1/encryption/rotate", id: "encryption-rotate", tag: tag,
		summary: "Put the data keys under the first key of the key file, and encrypt with a new one from now on"},
		func(ctx context.Context, in *encryptionInput) (*answer[engine.Encryption], error) {
			var keys crypt.Keys
			if a.o.DataKeys != nil {
				var err error
				if keys, err = a.o.DataKeys(); err != nil {
					return nil, problem("unsupported", err.Error(), "the key file is read again by whoever has the data directory: see wfd key new --help")
				}
			}
			x, err := a.o.Engine.RotateKeys(ctx, keys, in.Body.Rewrite, in.Body.Reason, by(ctx, Keyed{}).Actor)
			return answered(x, err)
		})
	register(h, operation{method: "POST", path: "/v1/encryption/stop", id: "encryption-stop", tag: tag,
		summary: "Encrypt nothing more from now on"},
		func(ctx context.Context, in *encryptionInput) (*answer[engine.Encryption], error) {
			x, err := a.o.Engine.StopEncryption(ctx, in.Body.Rewrite, in.Body.Reason, by(ctx, Keyed{}).Actor)
			return answered(x, err)
		})
}

// compactProblem says of a compaction that met damage that it was refused for it: what is
// damaged is written anew by nobody, and everything else is as it was.
func compactProblem(err error) error {
	var corrupt *eventlog.CorruptError
	if !errors.As(err, &corrupt) {
		return err
	}
	p := AsProblem(err)
	name, hint := "refused", "wfd check names all damage; restore a backup, and compact then"
	if errors.Is(err, syscall.EIO) { // what is there could not be seen
		name, hint = "unwritable", "look at the disk (wfd doctor); what was acknowledged is stored"
	}
	p.Type, p.Title, p.Status, p.Hint = typeURI(name), Types[name].Title, Types[name].Status, hint
	return p
}
