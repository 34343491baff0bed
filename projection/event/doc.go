// Package event is the vocabulary of the log: what each kind of event means,
// what its payload holds, and how that payload is written in bytes and shown as
// JSON.
//
// A payload is a msgpack array of its fields in the order of the struct. Fields
// are only ever added, at the end: an older event reads as the struct with zero
// values for what it does not hold, and an event with more fields than this
// build knows was written by a newer one and is refused. A field that was added
// is left out where it and what follows it is zero, so that adding it changes no
// byte of what does not use it. Kinds are numbered in
// this file's constants; a number never gets a second meaning.
//
// Values that users supply (inputs, results, state) are kept as [Value]: msgpack
// that is decoded only by whoever looks inside.
//
// [Decode] must be given bytes whose checksum was verified: it bounds every
// length by the bytes at hand, but it does not defend against a forger.
package event
