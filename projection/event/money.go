package event

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
	"strconv"
	"strings"
)

// Micros is an amount of money in millionths of a US dollar. Nothing here
// computes money in floating point.
type Micros int64

// Bounds of what one attempt may report, of prices, and of budgets. Within them
// no product or sum of one attempt overflows 64 bits.
const (
	MaxTokens = 1_000_000_000_000         // of one attempt, in and out each, and of a price's unit
	MaxPrice  = Micros(1_000_000_000_000) // per million tokens: a dollar a token
	MaxBudget = Micros(1_000_000_000_000_000)
	// MaxBudgetTokens is the largest token budget.
	MaxBudgetTokens = 1_000_000_000_000_000
)

// perDollar is how many Micros a US dollar has.
const perDollar = 1_000_000

// String is the amount in dollars, exactly, as "0.0125".
func (m Micros) String() string {
	sign, n := "", uint64(m)
	if m < 0 {
		sign, n = "-", -n
	}
	s := fmt.Sprintf("%s%d.%06d", sign, n/perDollar, n%perDollar)
	return strings.TrimSuffix(strings.TrimRight(s, "0"), ".")
}

// USD is the amount in dollars as a number, for expressions and for reading.
func (m Micros) USD() float64 { return float64(m) / perDollar }

// ErrAmount marks an amount of money that is none, or out of bounds.
var ErrAmount = errors.New("not an amount of US dollars")

// ParseUSD reads an amount in dollars, exactly: digits, and after a point up to
// six more. It takes no sign, no exponent and no currency.
func ParseUSD(s string) (Micros, error) {
	whole, frac, point := strings.Cut(s, ".")
	digits := strings.Trim(whole+frac, "0123456789") == "" && whole != ""
	switch {
	case !digits || point && frac == "":
		return 0, fmt.Errorf("%w: %q; write it as 2.50", ErrAmount, clip(s))
	case len(strings.TrimRight(frac, "0")) > 6:
		return 0, fmt.Errorf("%w: %q has more than six decimals", ErrAmount, clip(s))
	}
	frac = (frac + "000000")[:6]
	n, err := strconv.ParseInt(whole+frac, 10, 64)
	if err != nil || Micros(n) > MaxBudget {
		return 0, fmt.Errorf("%w: %q is more than %s", ErrAmount, clip(s), MaxBudget)
	}
	return Micros(n), nil
}

// AmountOf reads an amount in dollars as JSON has it, exactly: a text, or a number that
// was written in a few decimals, which is its shortest spelling.
func AmountOf(v any) (Micros, error) {
	switch v := v.(type) {
	case int64:
		return ParseUSD(strconv.FormatInt(v, 10))
	case float64:
		return ParseUSD(strconv.FormatFloat(v, 'f', -1, 64))
	case string:
		return ParseUSD(v)
	}
	return 0, fmt.Errorf("%w; write it as 2.50", ErrAmount)
}

func clip(s string) string {
	if len(s) > 40 {
		return s[:40] + "…"
	}
	return s
}

// Price is what a model costs, per million tokens of each sort.
type Price struct {
	Input  Micros `json:"input"`
	Cached Micros `json:"cached"` // input that the provider had in its cache
	Output Micros `json:"output"`
}

// Cost returns what usage costs at p, rounded up to a whole micro-dollar once
// per attempt: many small calls cost at least what they are billed. What does
// not fit 64 bits, which [Usage.Check] and [MaxPrice] rule out, is the largest
// amount there is, so that a broken number stops spending instead of wrapping.
func (p Price) Cost(u Usage) Micros {
	cached := min(max(u.CachedTokens, 0), max(u.InputTokens, 0))
	var hi, lo, over uint64
	for _, part := range [...]struct {
		tokens int64
		price  Micros
	}{{u.InputTokens - cached, p.Input}, {cached, p.Cached}, {u.OutputTokens, p.Output}} {
		if part.tokens <= 0 || part.price <= 0 {
			continue
		}
		h, l := bits.Mul64(uint64(part.tokens), uint64(part.price))
		var carry uint64
		lo, carry = bits.Add64(lo, l, 0)
		hi, carry = bits.Add64(hi, h, carry)
		over |= carry
	}
	lo, carry := bits.Add64(lo, perMillion-1, 0)
	hi, carry = bits.Add64(hi, 0, carry)
	if over|carry != 0 || hi >= perMillion {
		return math.MaxInt64
	}
	q, _ := bits.Div64(hi, lo, perMillion)
	return Micros(min(q, math.MaxInt64))
}

// perMillion is the unit of prices, in tokens.
const perMillion = 1_000_000

// Usage is what an attempt consumed.
type Usage struct {
	InputTokens  int64  `json:"input_tokens"`
	OutputTokens int64  `json:"output_tokens"`
	CachedTokens int64  `json:"cached_tokens,omitempty"` // of the input: what the provider had in its cache
	Model        string `json:"model,omitempty"`         // that was called
	Price        *Price `json:"price,omitempty"`         // at which it is charged; nil: none is known
}

// Tokens returns how many tokens were consumed, in and out.
func (u Usage) Tokens() int64 { return add(u.InputTokens, u.OutputTokens) }

// ErrUsage marks usage that no call can have.
var ErrUsage = errors.New("impossible usage")

// Check refuses usage that is negative, beyond [MaxTokens], or inconsistent.
func (u Usage) Check() error {
	for _, n := range []int64{u.InputTokens, u.OutputTokens, u.CachedTokens} {
		if n < 0 || n > MaxTokens {
			return fmt.Errorf("%w: %d tokens; there are 0 to %d", ErrUsage, n, int64(MaxTokens))
		}
	}
	if u.CachedTokens > u.InputTokens {
		return fmt.Errorf("%w: %d cached tokens of %d of input", ErrUsage, u.CachedTokens, u.InputTokens)
	}
	return nil
}

// add is a + b, or the end of the range where that is beyond it.
func add(a, b int64) int64 {
	s := a + b
	switch {
	case a > 0 && b > 0 && s < 0:
		return math.MaxInt64
	case a < 0 && b < 0 && s >= 0:
		return math.MinInt64
	}
	return s
}
