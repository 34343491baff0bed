// Package price knows what models cost. A [Book] holds prices by model, in
// micro-dollars per million tokens of input, cached input and output.
//
// [Default] is the book in the binary, of the day that it names; prices change,
// and [Parse] reads a file of the same form that is laid over it with
// [Book.Over]. A model that no book has has no price: it is counted in tokens,
// and only budgets in tokens can hold it.
//
//	as_of: 2026-11-23
//	models:
//	  my-model: {input: 2.50, cached: 0.25, output: 10}
//	  my-model-long: {input: 2, output: 8, over: {tokens: 200000, input: 4, output: 16}}
//	  flat-rate: {input: 0, output: 0}
//
// Amounts are US dollars per million tokens, exact to six decimals. Without
// cached, cached input costs what input costs. over is the price of a whole call
// whose input has more than so many tokens.
//
// A name is looked up as it is; then without the date or "-latest" that it ends
// in; then the same without what is before its last slash, as in
// "openai/gpt-5". Letter case does not matter, nor whether a version is written
// 4-5 or 4.5.
package price
