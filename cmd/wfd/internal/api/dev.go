package api

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/wfd-dev/wfd/engine/workflow"
)

// DevState is what wfd dev found in the directory that it watches.
type DevState struct {
	Dir string `json:"dir" doc:"empty: this is no wfd dev"`
	// Revision goes up with each change of what follows.
	Revision int       `json:"revision"`
	Files    []DevFile `json:"files" doc:"those that cannot be registered as they are"`
}

// DevFile is a file that cannot be registered as it is.
type DevFile struct {
	File     string            `json:"file"`
	Problems workflow.Problems `json:"problems"`
	Error    string            `json:"error,omitempty" doc:"if it is no problem of the definition"`
}

// Dev carries a DevState to those who watch.
type Dev struct {
	mu      sync.Mutex
	state   DevState
	changed chan struct{} // closed at the next change
}

// NewDev returns the state of a directory in which nothing is wrong yet.
func NewDev(dir string) *Dev {
	return &Dev{state: DevState{Dir: dir, Revision: 1, Files: []DevFile{}}, changed: make(chan struct{})}
}

// Set says which files cannot be registered now.
func (d *Dev) Set(files []DevFile) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if files == nil {
		files = []DevFile{}
	}
	d.state.Files = files
	d.state.Revision++
	close(d.changed)
	d.changed = make(chan struct{})
}

// after returns the state once it is newer than a revision, or as it is when ctx ends.
func (d *Dev) after(ctx context.Context, revision int) DevState {
	for {
		d.mu.Lock()
		s, changed := d.state, d.changed
		d.mu.Unlock()
		if s.Revision != revision {
			return s
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return s
		}
	}
}

func (a *API) dev(h huma.API) {
	register(h, operation{method: "GET", path: "/v1/dev", id: "dev-state", tag: "health",
		summary: "What wfd dev found wrong in the directory that it watches"},
		func(ctx context.Context, in *struct {
			After int    `query:"after" doc:"with wait: answer once the revision is another one"`
			Wait  string `query:"wait" doc:"as 30s; at most 60s" example:"30s"`
		}) (*answer[DevState], error) {
			if a.o.Dev == nil {
				return &answer[DevState]{DevState{Files: []DevFile{}}}, nil
			}
			wait := time.Duration(0)
			if in.Wait != "" {
				var err error
				if wait, err = time.ParseDuration(in.Wait); err != nil || wait < 0 {
					return nil, problem("invalid", fmt.Sprintf("wait: %q is not a duration", in.Wait), "write it as 30s")
				}
			}
			ctx, cancel := a.until(ctx)
			defer cancel()
			ctx, stop := context.WithTimeout(ctx, min(wait, MaxWait))
			defer stop()
			return &answer[DevState]{a.o.Dev.after(ctx, in.After)}, nil
		})
}
