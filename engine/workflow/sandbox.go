package workflow

import "github.com/wfd-dev/wfd/engine/workflow/source"

// sandboxLevels are those of engine/agent/sandbox.
var sandboxLevels = []string{"none", "rlimits", "landlock", "full"}

var sandboxFields = []field{
	{name: "level", form: aChoice, choices: sandboxLevels, doc: "What the program is kept from; that of the daemon if left out."},
	{name: "least", form: aChoice, choices: sandboxLevels, doc: "What is enough where the machine cannot give level; nothing less if left out."},
	{name: "read", form: aWords, doc: "Files and directories that it may read, besides the system and its own."},
	{name: "write", form: aWords, doc: "Files and directories that it may write to, besides its own."},
	{name: "network", form: aBool, doc: "Whether it reaches the network."},
	{name: "cpu", form: aSpan, doc: "Processor time that each of its processes may take."},
	{name: "memory_mb", form: aCount, min: 1, max: 1 << 30, doc: "Memory of each of its processes, in MiB."},
	{name: "file_mb", form: aCount, min: 1, max: 1 << 30, doc: "How large a file it may write, in MiB."},
	{name: "processes", form: aCount, min: 1, max: 1 << 20, doc: "How many processes it may have; 512 at full if left out."},
}

// ReadSandbox reads what a program asks of its sandbox: a level, or an object.
func ReadSandbox(src *source.File, t *source.Tree) (map[string]any, Problems) {
	p := &parser{src: src}
	return p.sandbox("", t, ""), p.problems
}

func (p *parser) sandbox(node string, v *source.Tree, path string) map[string]any {
	box := &NodeDef{ID: node, Fields: map[string]any{}}
	if v.Kind == source.Scalar { // sandbox: full
		box.Fields["level"] = p.choice(v, find(sandboxFields, "level"), path, node)
		return box.Fields
	}
	p.object(v, path, node, "sandbox", sandboxFields, func(name string, _, v *source.Tree) {
		p.kindField(box, find(sandboxFields, name), v, source.Join(path, name))
	})
	if _, ok := box.Fields["level"]; !ok && box.Fields["least"] != nil {
		p.fail(CodeMissingField, v.Place, path, node, "sandbox has least, and no level", "least is for where the machine cannot give level")
	}
	return box.Fields
}
