package engine

import (
	"context"
	"fmt"
	"slices"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/eventlog/crypt"
	"github.com/wfd-dev/wfd/projection/event"
)

// Encryption is how a data directory is encrypted.
type Encryption struct {
	// On says that what is written is encrypted.
	On bool `json:"on"`
	crypt.Status
	// Bytes are those of the log's events, blobs and archives, by data key; 0: not encrypted.
	Bytes map[uint32]int64 `json:"bytes,omitempty"`
	// Plain and Older are how many of them are not encrypted, and encrypted with another
	// data key than what is written now: a rewrite changes them.
	Plain int64 `json:"plain"`
	Older int64 `json:"older"`
	// Kept are files of damaged segments that are kept as they were.
	Kept []string `json:"kept,omitempty"`
}

// sealer is what a log may offer besides: to be encrypted.
type sealer interface {
	Ring() *crypt.Ring
	RotateKeys(crypt.Keys) error
	StopSealing() error
	Reseal(context.Context) error
	ForgetKeys(context.Context) (bool, error)
	Sealed(context.Context) (eventlog.Sealed, error)
}

var _ sealer = (*eventlog.DB)(nil)

// Encryption says how the log is encrypted. It reads through all of it.
func (e *Engine) Encryption(ctx context.Context) (x Encryption, err error) {
	log, ok := e.log.(sealer)
	if !ok {
		return x, nil
	}
	status, encrypted := log.Ring().Status()
	if !encrypted {
		return x, nil
	}
	x.On, x.Status = status.Write != 0, status
	sealed, err := log.Sealed(ctx)
	x.Bytes, x.Kept = sealed.Bytes, sealed.Kept
	x.Plain = sealed.Bytes[0]
	for key, n := range sealed.Bytes {
		if key != 0 && key != status.Write {
			x.Older += n
		}
	}
	return x, err
}

// RotateKeys puts the data keys under the first of keys, and has a new one for what is
// written from now on; of a log that was to be encrypted no more, it is again. With rewrite
// what was written before is written anew, and older data keys go.
func (e *Engine) RotateKeys(ctx context.Context, keys crypt.Keys, rewrite bool, reason, actor string) (Encryption, error) {
	if len(keys) == 0 {
		return Encryption{}, fmt.Errorf("%w: there is no key file: it is given by --key-file to whoever opens the data directory", ErrUnsupported)
	}
	return e.rekey(ctx, event.DataKeysRotated, keys[0].ID, rewrite, reason, actor, func(log sealer) error {
		if s, _ := log.Ring().Status(); !slices.Contains(keys.IDs(), s.Key) {
			// Whoever has this file alone could still open what there is; but it is a sign
			// of a mistake, and the way back would be gone.
			return fmt.Errorf("%w: the key file does not have key %s any more, which the data directory is encrypted with: keep it there, after the new one, until the rotation is done", ErrUnsupported, s.Key)
		}
		return log.RotateKeys(keys)
	})
}

// StopEncryption has what is written from now on stored as it is. With rewrite what was
// written before is written anew so, and the data keys go.
func (e *Engine) StopEncryption(ctx context.Context, rewrite bool, reason, actor string) (Encryption, error) {
	return e.rekey(ctx, event.DataKeysStopped, "", rewrite, reason, actor, sealer.StopSealing)
}

// rekey says in the log what is going to be done, and does it.
func (e *Engine) rekey(ctx context.Context, what, key string, rewrite bool, reason, actor string, do func(sealer) error) (Encryption, error) {
	log, ok := e.log.(sealer)
	if !ok || !log.Ring().Encrypted() {
		return Encryption{}, fmt.Errorf("%w: the data directory is not encrypted: give --key-file to whoever opens it", ErrUnsupported)
	}
	if err := e.erasures.rekey(ctx, log, &event.DataKeysChanged{What: what, Key: key, Rewrite: rewrite, Reason: reason}, actor, do); err != nil {
		return Encryption{}, err
	}
	return e.Encryption(ctx)
}

// rekey changes the data keys, and writes anew what lies in the data directory if that is
// asked for. If we crash in between, what is there is read all the same: it is asked for
// again.
func (x *erasures) rekey(ctx context.Context, log sealer, p *event.DataKeysChanged, actor string, do func(sealer) error) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if _, err := x.e.Record(ctx, p, actor); err != nil {
		return err
	}
	if err := do(log); err != nil || !p.Rewrite {
		return err
	}
	for _, anew := range []func() error{
		func() error { return log.Reseal(ctx) },
		// What a crash left behind is as it was.
		func() error { _, err := x.log.Sweep(); return err },
		x.sweepArchives,
		func() error { return x.e.views.Reseal(ctx) },
		x.e.snapshots.scrub,
		x.e.opt.Leases.Scrub,
	} {
		if err := anew(); err != nil {
			return err
		}
	}
	forgot, err := log.ForgetKeys(ctx)
	if err == nil && !forgot {
		x.e.slog.Warn("older data keys stay: something is still encrypted with them, or kept of a damaged segment")
	}
	return err
}
