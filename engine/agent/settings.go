package agent

// final is Fail for what would fail again.
func final(class, format string, args ...any) Answer {
	a := Fail(class, format, args...)
	again := false
	a.Failure.Again = &again
	return a
}

// setting returns a setting of the node by its name in the definition:
// evaluated, or as it is written there if nothing in it needs evaluation.
func (t *Task) setting(name string) any {
	if v, ok := t.Settings[name]; ok {
		return v
	}
	if t.Def != nil && t.Def.Def != nil {
		return t.Def.Def.Fields[name]
	}
	return nil
}
