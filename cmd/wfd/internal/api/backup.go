package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/wfd-dev/wfd/eventlog/backup"
)

const (
	// haveLimit bounds the list of files that a client has: two million.
	haveLimit = 64 << 20
	// backupWrite is how long a write of a backup may take: the client syncs what it
	// gets to a disk, which may be slow.
	backupWrite = 2 * time.Minute
)

type backupInput struct {
	Key  bool         `query:"key" doc:"with the private key of the log. A daemon does not give it away: only a command on a directory without one has it"`
	have []backup.Sum // sorted
}

// Resolve reads the body, which may be left out.
func (in *backupInput) Resolve(ctx huma.Context) []error {
	b, err := io.ReadAll(io.LimitReader(ctx.BodyReader(), haveLimit+1))
	if err == nil && len(b) > haveLimit {
		err = problem("too-large", fmt.Sprintf("the list of files has more than %d bytes", haveLimit), "leave some out: they are sent again")
	}
	if err == nil {
		in.have, err = sums(b)
	}
	if err != nil {
		return []error{AsProblem(err)}
	}
	return nil
}

func (a *API) backups(h huma.API) {
	register(h, operation{method: "POST", path: "/v1/backup", id: "backup", tag: "operation", body: haveLimit,
		summary: "The data directory as it is now, as a tar: what wfd backup makes a backup of. The body may list the SHA-256 of files to leave out, 32 bytes each"},
		func(ctx context.Context, in *backupInput) (*huma.StreamResponse, error) {
			if a.o.Backup == nil {
				return nil, problem("unsupported", "there is nothing to back up here", "")
			}
			if in.Key && !strings.HasPrefix(by(ctx, Keyed{}).Actor, "cli:") {
				return nil, problem("forbidden", "a daemon does not give away the private key", "copy audit.key from the data directory yourself; or stop the daemon, and use --data")
			}
			select {
			case a.backingUp <- struct{}{}:
			default:
				return nil, problem("busy", "a backup is being made", "wait until it is done")
			}
			return &huma.StreamResponse{Body: func(hc huma.Context) {
				defer func() { <-a.backingUp }()
				r, w := humago.Unwrap(hc)
				a.sendBackup(r, w, in.Key, in.have)
			}}, nil
		})
}

// sums reads a list of SHA-256.
func sums(b []byte) ([]backup.Sum, error) {
	if len(b)%len(backup.Sum{}) != 0 {
		return nil, problem("malformed", "the body is not a list of SHA-256, 32 bytes each", "")
	}
	list := make([]backup.Sum, 0, len(b)/len(backup.Sum{}))
	for s := range slices.Chunk(b, len(backup.Sum{})) {
		list = append(list, backup.Sum(s))
	}
	slices.SortFunc(list, func(a, b backup.Sum) int { return slices.Compare(a[:], b[:]) })
	return list, nil
}

func (a *API) sendBackup(r *http.Request, w http.ResponseWriter, withKey bool, have []backup.Sum) {
	ctx, cancel := a.until(r.Context())
	defer cancel()
	out := &timedWriter{w: w, rc: http.NewResponseController(w), media: "application/x-tar", limit: backupWrite}
	began := time.Now()
	err := backup.Send(ctx, out, a.o.Backup(withKey), backup.Options{Have: have, Now: began, Problem: func(err error) []byte {
		b, _ := json.Marshal(backupProblem(err)) // of strings and numbers
		return b
	}})
	switch {
	case err == nil:
		a.o.Logger.Info("a backup was made", "by", by(r.Context(), Keyed{}).Actor, "took", time.Since(began).Round(time.Millisecond))
	case r.Context().Err() == nil:
		a.o.Logger.Error("a backup broke off", "error", err)
	}
}

func backupProblem(err error) *Problem {
	if errors.Is(err, backup.ErrEmpty) {
		return problem("refused", err.Error(), "start a run, or register a workflow")
	}
	return AsProblem(err)
}
