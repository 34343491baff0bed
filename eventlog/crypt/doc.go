// Package crypt keeps what a data directory stores from who has only its disk.
//
// Two levels of keys. A [Key] is what an operator has, in a file outside of the
// data directory. It encrypts nothing but data keys, which are random, are made
// here, and lie in the data directory under the name [File], each in the form that
// only the Key opens. So the Key is changed by writing that one small file anew, and
// what was stored stays as it is. A [Ring] is such a file, opened.
//
// # What is stored
//
// Everything that a Ring seals is AES-256-GCM under a key that is derived for it alone,
// from a data key and 24 random bytes beside it (C2SP XAES-256-GCM). Nothing has to be
// remembered for that: not how often a key was used, nor what a process that died had
// written, nor whether a page was written twice. With 192 random bits two are the same
// with a chance of one in 2³² after 2⁸⁰ values, so a data key is not worn out by
// use. What a value is sealed for, its place, is no part of it and must be given again
// to open it: one that was moved does not open.
//
//	number of the data key u32 | 24 random bytes | AES-256-GCM, its tag last
//
// A [Series] is several values that lie together and share the first 28 bytes: the
// number of each in the series is combined with the last 4 of the random bytes.
//
// # What it does not do
//
// It tells no older form of a place from a newer one, and hides neither sizes nor
// when something was written. It does not prove that nothing was left out: that
// is what the Merkle tree of the log is for.
package crypt
