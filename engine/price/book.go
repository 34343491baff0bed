package price

import (
	_ "embed"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/wfd-dev/wfd/projection/event"
)

// Book holds prices by model. It does not change once it is made and is safe for
// concurrent use.
type Book struct {
	// AsOf is the day that the prices are of, as 2026-11-23; "" if it is not said.
	AsOf   string
	models map[string]entry // by folded name
}

// entry is what a book has on a model.
type entry struct {
	name  string // as it is written
	price event.Price
	above int64 // tokens of input over which long counts; 0: there is no such price
	long  event.Price
}

// Line is one model of a book, to be shown.
type Line struct {
	Model string      `json:"model"`
	Price event.Price `json:"price"`
	// Above is how many tokens of input a call may have at Price; beyond it the
	// whole call is charged at Long. 0: there is no such bound.
	Above int64        `json:"above,omitempty"`
	Long  *event.Price `json:"long,omitempty"`
}

//go:embed prices.yaml
var embedded []byte

// Default returns the book in the binary.
var Default = sync.OnceValue(func() *Book {
	b, err := Parse("prices.yaml", embedded)
	if err != nil {
		panic("price: the book in the binary: " + err.Error()) // a test reads it
	}
	return b
})

// Over returns base with b laid over it: what b has counts.
func (b *Book) Over(base *Book) *Book {
	models := maps.Clone(base.models)
	maps.Copy(models, b.models)
	return &Book{AsOf: base.AsOf, models: models}
}

// Price returns what a call of a model with so many tokens of input costs; nil
// if the book does not have the model.
func (b *Book) Price(model string, input int64) *event.Price {
	for _, name := range names(model) {
		e, ok := b.models[name]
		switch {
		case !ok:
		case e.above > 0 && input > e.above:
			return &e.long
		default:
			return &e.price
		}
	}
	return nil
}

// dated matches what providers put behind a name to pin a version.
var dated = regexp.MustCompile(`-(20\d\d-\d\d-\d\d|20\d{6}|latest|preview)$`)

// names returns the folded names under which a model may be in a book, the
// closest first.
func names(model string) []string {
	full := fold(model)
	list := []string{full, dated.ReplaceAllString(full, "")}
	if i := strings.LastIndexByte(full, '/'); i >= 0 {
		bare := full[i+1:]
		list = append(list, bare, dated.ReplaceAllString(bare, ""))
	}
	return slices.DeleteFunc(slices.Compact(list), func(s string) bool { return s == "" })
}

// fold takes out what names are written differently in.
func fold(model string) string {
	return strings.ReplaceAll(strings.ToLower(strings.TrimSpace(model)), ".", "-")
}

// Lines returns what the book has, by model.
func (b *Book) Lines() []Line {
	var list []Line
	for _, name := range slices.Sorted(maps.Keys(b.models)) {
		e := b.models[name]
		l := Line{Model: e.name, Price: e.price, Above: e.above}
		if e.above > 0 {
			l.Long = &e.long
		}
		list = append(list, l)
	}
	return list
}
