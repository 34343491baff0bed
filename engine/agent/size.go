package agent

import "unicode/utf8"

// Size returns what a model is sent and may answer when a task begins: the characters
// of the system prompt and of the prompt, and the tokens that the answer may have at
// most. Of a task that nobody was chosen for, which a script answers, it is the node's
// own prompt.
func Size(t *Task) (chars, output int64) {
	output = int64(maxTokens(t))
	if t.Agent == nil {
		return int64(utf8.RuneCountInString(t.Prompt)), output
	}
	n := utf8.RuneCountInString(t.Agent.System) + utf8.RuneCountInString(prompt(t))
	if s := schemaOf(t); s != nil {
		n += utf8.RuneCountInString(instruction(s))
	}
	return int64(n), output
}

// maxTokens is how long the answer to a task may be: the node says, or else the agent.
func maxTokens(t *Task) int {
	if n := t.Def.Def.Int("max_tokens"); n > 0 {
		return n
	}
	if t.Agent != nil && t.Agent.MaxTokens > 0 {
		return t.Agent.MaxTokens
	}
	return DefaultMaxTokens
}

// schemaOf returns the JSON Schema that a task's answer is asked for with, nil if there
// is none.
func schemaOf(t *Task) map[string]any {
	var s shape
	switch {
	case t.Turn != nil:
		s = s.of(t.Turn.schema())
	case t.Def.Def.Expect != nil:
		s = s.of(t.Def.Def.Expect)
	case t.Agent.Expect != nil:
		s = s.of(t.Agent.Expect)
	default:
		if asked := t.asks().Schema(); asked != nil {
			s = s.of(asked)
		}
	}
	return s.schema
}

// toolsOf names the tools of a task: those that the node names, or else the agent. Those
// that the agent's file makes have their names in the first case alone.
func toolsOf(t *Task) (names []string, named bool) {
	if names := words(t.Def.Def.Fields["tools"]); names != nil || t.Agent == nil {
		return names, true
	}
	return t.Agent.Tools, false
}

// UsesTools reports whether a task's model may have tools called, and be asked again.
func UsesTools(t *Task) bool {
	names, named := toolsOf(t)
	return len(names) > 0 || !named && len(t.Agent.Own) > 0
}
