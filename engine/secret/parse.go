package secret

import (
	"fmt"
	"strconv"
	"strings"
)

// parse reads a file of lines NAME=value. Its errors name lines, never what stands
// in them.
func parse(file, text string) (map[string]string, error) {
	m := map[string]string{}
	for i, line := range strings.Split(strings.TrimPrefix(text, "\ufeff"), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		fail := func(format string, args ...any) (map[string]string, error) {
			return nil, fmt.Errorf("secrets: %s, line %d: %s", file, i+1, fmt.Sprintf(format, args...))
		}
		name, value, ok := strings.Cut(strings.TrimPrefix(line, "export "), "=")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		switch {
		case !ok:
			return fail("want NAME=value")
		case !validName(name):
			return fail("what stands before the = is no name: it has letters, digits, _, - and dots")
		case len(m) == maxSecrets:
			return fail("there are more than %d secrets", maxSecrets)
		}
		if _, twice := m[name]; twice {
			return fail("%s is there twice", name)
		}
		if n := len(value); n > 0 && (value[0] == '"' || value[0] == '\'') {
			if n < 2 || value[n-1] != value[0] {
				return fail("the quotes of %s are not closed on this line", name)
			}
			if value[0] == '\'' {
				value = value[1 : n-1]
			} else if unquoted, err := strconv.Unquote(value); err == nil {
				value = unquoted
			} else {
				return fail("the quotes of %s cannot be read: \" and \\ inside them need a \\ before", name)
			}
		}
		m[name] = value
	}
	return m, nil
}
