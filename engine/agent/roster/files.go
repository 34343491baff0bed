package roster

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/wfd-dev/wfd/engine/workflow"
)

// look is one state of a file and the agent it held then.
type look struct {
	size  int64
	at    time.Time
	agent *Agent // nil: it had errors from the beginning
}

// Refresh looks at the directory and takes up what has changed. Problems are those of
// files that have changed since the last look; the agents of files with errors stay as
// they were. The error is that of a directory that cannot be read.
func (r *Roster) Refresh() ([]Change, workflow.Problems, error) {
	if r.o.Dir == "" {
		return nil, nil, nil
	}
	r.refresh.Lock()
	defer r.refresh.Unlock()
	files, err := list(r.o.Dir)
	if err != nil {
		return nil, nil, err
	}
	var problems workflow.Problems
	seen, owner := map[string]look{}, map[string]string{}
	for _, f := range files {
		now, was := look{size: f.Size(), at: f.ModTime()}, r.seen[f.Name()]
		if id := strings.ToLower(strings.TrimSuffix(f.Name(), ".md")); owner[id] != "" {
			problems = append(problems, workflow.Problem{
				Severity: workflow.Error, Code: workflow.CodeDuplicateID, File: filepath.Join(r.o.Dir, f.Name()),
				Message: fmt.Sprintf("it has the name of %s", owner[id]), Hint: "letter case does not tell agents apart",
			})
			continue
		} else {
			owner[id] = f.Name()
		}
		if old, known := r.seen[f.Name()]; known && old.size == now.size && old.at.Equal(now.at) {
			seen[f.Name()] = old
			continue
		}
		a, found := r.read(f.Name())
		problems = append(problems, found...)
		if now.agent = a; a == nil {
			now.agent = was.agent // as it last was
		}
		seen[f.Name()] = now
	}
	r.seen = seen
	return r.adopt(), problems, nil
}

// list returns the agent files of a directory, by name.
func list(dir string) ([]fs.FileInfo, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("agents: %w", err)
	}
	var files []fs.FileInfo
	for _, e := range entries {
		name := e.Name()
		if strings.HasPrefix(name, ".") || filepath.Ext(name) != ".md" || strings.EqualFold(name, "README.md") {
			continue
		}
		fi, err := os.Stat(filepath.Join(dir, name)) // of what a link leads to
		if err != nil || !fi.Mode().IsRegular() {
			continue // gone since, or no file
		}
		if len(files) == MaxAgents {
			return nil, fmt.Errorf("agents: %s has more than %d files", dir, MaxAgents)
		}
		files = append(files, named{fi, name})
	}
	return files, nil
}

// named is what is known of a file, under the name of the link that led to it.
type named struct {
	fs.FileInfo
	name string
}

func (n named) Name() string { return n.name }

func (r *Roster) read(name string) (*Agent, workflow.Problems) {
	path := filepath.Join(r.o.Dir, name)
	f, err := os.Open(path)
	if err == nil {
		defer f.Close()
		var src []byte
		if src, err = io.ReadAll(io.LimitReader(f, MaxFile+1)); err == nil {
			return Parse(path, src)
		}
	}
	return nil, workflow.Problems{{Severity: workflow.Error, Code: workflow.CodeSyntax, File: path, Message: err.Error()}}
}

// adopt makes the agents of the files, and the built-in ones that no file replaces,
// those of the roster.
func (r *Roster) adopt() []Change {
	next := map[string]*Agent{}
	for _, a := range builtIn() {
		next[a.ID] = a
	}
	for _, l := range r.seen {
		if l.agent != nil {
			next[l.agent.ID] = l.agent
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var changes []Change
	r.spawned = 0
	for id, a := range r.byID {
		switch b := next[id]; {
		case b == nil && a.Spawned:
			next[id] = a
			r.spawned++
		case b == nil:
			changes = append(changes, Change{Despawned, a})
		case b.Hash != a.Hash:
			changes = append(changes, Change{Changed, b})
		}
	}
	for id, b := range next {
		if r.byID[id] == nil {
			changes = append(changes, Change{Spawned, b})
		}
	}
	slices.SortFunc(changes, func(a, b Change) int { return strings.Compare(a.Agent.ID, b.Agent.ID) })
	r.byID = next
	r.index()
	for _, c := range changes {
		r.announce(c)
	}
	return changes
}
