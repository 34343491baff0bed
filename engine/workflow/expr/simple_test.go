package expr

import (
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// The short way around CEL must take the same decisions as CEL.
func TestSimpleConditionsEqualCEL(t *testing.T) {
	names := []string{"a", "b", "c", "state.d", "u.n", "u.m.k", "result.x"}
	literals := []string{"1", "0", "-1", "2", "1.0", "1.5", "9007199254740993", "9007199254740992.0", "1e300", "'x'", "'1'", "''", "true", "false", "null"}
	plain := []any{nil, true, false, int64(0), int64(1), int64(-1), int64(1<<53 + 1), 1.0, 1.5, -1.0, 9007199254740992.0, 1e300, math.NaN(), math.Inf(1), "x", "1", "", "true",
		[]any{}, []any{int64(1)}, map[string]any{}, map[string]any{"n": int64(1)}, map[string]any{"m": map[string]any{"k": 1.0}}}
	rapid.Check(t, func(t *rapid.T) {
		term := func() string {
			a := rapid.SampledFrom(names).Draw(t, "name")
			switch rapid.IntRange(0, 5).Draw(t, "form") {
			case 0:
				return a
			case 1:
				return "!" + a
			}
			op := rapid.SampledFrom([]string{"==", "!=", "<", "<=", ">", ">="}).Draw(t, "op")
			right := rapid.SampledFrom(append(names, literals...)).Draw(t, "right")
			if rapid.Bool().Draw(t, "mirrored") {
				a, right = right, a
			}
			s := a + " " + op + " " + right
			if rapid.IntRange(0, 5).Draw(t, "not") == 0 {
				return "!(" + s + ")"
			}
			return s
		}
		var b strings.Builder
		b.WriteString(term())
		for range rapid.IntRange(0, 3).Draw(t, "terms") {
			b.WriteString(rapid.SampledFrom([]string{" && ", " || "}).Draw(t, "join"))
			if rapid.IntRange(0, 3).Draw(t, "group") == 0 {
				b.WriteString("(" + term() + " || " + term() + ")")
			} else {
				b.WriteString(term())
			}
		}
		cond, err := CompileCondition(b.String(), testScope)
		if err != nil {
			t.Skip("CEL's type check refuses it")
		}
		if cond.prog.simple == nil {
			t.Skip("not simple")
		}
		state := map[string]any{}
		v := values{"state": state}
		for _, k := range []string{"a", "b", "c", "d", "u"} {
			if rapid.IntRange(0, 3).Draw(t, "has") > 0 {
				state[k] = rapid.SampledFrom(plain).Draw(t, k)
			}
		}
		if rapid.Bool().Draw(t, "has result") {
			v["result"] = rapid.SampledFrom(plain).Draw(t, "result")
		}
		short := cond.Eval(v)
		long := (&Condition{cond.text, &program{cel: cond.prog.cel, refs: cond.prog.refs}}).Eval(v)
		if short.Met != long.Met || (short.Err == "") != (long.Err == "") {
			t.Fatalf("%s on %v: simple %+v, CEL %+v", b.String(), v, short, long)
		}
	})
}

func FuzzCondition(f *testing.F) {
	for _, s := range []string{
		"api_approved == true", "cvss_score >= 9.0 || exploit_available == true", "iteration_count < max_iterations", "state.value == 'test' OR 1=1 --",
		"state.value == 'test' && system('rm -rf /')", "xs.all(x, x > 0)", "has(state.a)", "nodes['a-b'].result", "a ? b : c", "'\\u00e9' == r'x'", "{'a': [1, 2.5, null]} == u",
		"((((", "a.b.c[0]['x'].d == -1", "'''x''' == \"\"\"y\"\"\"", "0x1F == 31u", "\xff", "a contains 'x'", "true && !false || 1 in [1]",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		cond, err := CompileCondition(text, testScope)
		if err != nil {
			for _, e := range err.(Errors) {
				if e.Message == "" || e.Line < 1 || e.Column < 1 || e.Length < 1 || e.Offset > len(e.Text) {
					t.Fatalf("%q: bad error %+v", text, e)
				}
			}
			return
		}
		first := cond.Eval(world())
		if first.Met && first.Err != "" {
			t.Fatalf("%q is met and fails", text)
		}
		if second := cond.Eval(world()); second.Met != first.Met || second.Err != first.Err {
			t.Fatalf("%q: %+v, then %+v", text, first, second)
		}
		RewriteInfix(text)
	})
}

func FuzzTemplate(f *testing.F) {
	for _, s := range []string{"x ${a} y", "$${a}", "${{'a': 1}}", "${'}'}", "${", "${a", "${\"${b}\"}", "é${a +}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		tm, err := CompileTemplate(text, testScope)
		if err != nil {
			return
		}
		if v, ok := tm.Literal(); ok && strings.Count(text, "$${") == 0 && v != text {
			t.Fatalf("%q became %q", text, v)
		}
		_, _ = tm.Eval(world())
	})
}
