// Package expr compiles and evaluates the expressions of definitions: the
// conditions of edges and the ${…} of templates. The language is CEL, with four
// rules of our own:
//
//   - A bare name that is no variable of the scope means state.<name>.
//   - Order (< <= > >=) is for numbers, timestamps and durations. Text, true and
//     false have none: "10.0" < "9" is an evaluation error, never a comparison of
//     characters. Equality is CEL's: values of different types are unequal.
//   - Arithmetic mixes integers and doubles; the result is a double.
//   - A condition that needs a missing key is not met; Outcome.Reads names the
//     key. CEL's || and && still decide when one side alone can.
//
// Evaluation is pure: no clock, no I/O, no randomness, and it ends. Programs
// whose cost is not bounded by their text alone run under CostLimit, counted by
// CEL's own deterministic meter; no deadline is involved, so that a decision
// replays the same on a slower machine.
//
// Compiled conditions and templates are immutable and safe for concurrent use.
// The simplest conditions (comparisons of keys and literals joined by &&, || and
// !) are evaluated without CEL; a property test holds them equal to it.
package expr
