package workflow

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/wfd-dev/wfd/engine/workflow/source"
)

// The largest budgets.
const (
	MaxUSD    = 1e9
	MaxTokens = 1e15
)

// errMoney is why an amount is none.
var errMoney = errors.New("an amount in dollars has at most six decimals")

// Micros reads an amount in dollars, exactly, as millionths of one: a number that was
// written in at most six decimals, which is its shortest spelling.
func Micros(v any) (int64, error) {
	var s string
	switch v := v.(type) {
	case int64:
		s = strconv.FormatInt(v, 10)
	case float64:
		s = strconv.FormatFloat(v, 'f', -1, 64)
	}
	whole, frac, _ := strings.Cut(s, ".")
	if len(frac) > 6 {
		return 0, errMoney
	}
	n, err := strconv.ParseInt(whole+(frac + "000000")[:6], 10, 64)
	if err != nil || n < 0 || n > MaxUSD*1_000_000 {
		return 0, fmt.Errorf("an amount is from 0 to %d dollars", int64(MaxUSD))
	}
	return n, nil
}

// money reads an amount in dollars. One that is finer than a millionth is refused: it
// would be another than was written.
func (p *parser) money(t *source.Tree, f *field, path, node string) int64 {
	if v := p.numberIn(t, f, path, node); v < f.min || v > f.max {
		return 0
	}
	n, err := Micros(t.Value)
	if err != nil {
		p.fail(CodeRange, t.Place, path, node, fmt.Sprintf("%s is %v: %v", f.name, t.Value, err), "")
	}
	return n
}
