package roster

import (
	"embed"
	"io/fs"
	"sync"
)

//go:embed builtin/*.md
var embedded embed.FS

// builtIn returns the agents of the binary.
var builtIn = sync.OnceValue(func() []*Agent {
	files, err := fs.Glob(embedded, "builtin/*.md")
	if err != nil {
		panic("roster: " + err.Error()) // a constant pattern
	}
	agents := make([]*Agent, len(files))
	for i, name := range files {
		src, err := embedded.ReadFile(name)
		if err != nil {
			panic("roster: " + err.Error())
		}
		a, problems := Parse(name, src)
		if len(problems) > 0 {
			panic("roster: an agent of the binary: " + problems.Error()) // a test reads them
		}
		a.File = ""
		agents[i] = a
	}
	return agents
})
