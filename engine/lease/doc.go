// Package lease keeps who holds which task while a worker does it.
//
// A worker that was handed a task holds a lease on it: a right that ends by itself
// unless it is renewed. The [Book] remembers leases across a restart of the daemon, so
// that a worker which is still at work is left alone, and how far each has come.
//
// # What it is not
//
// The book is not what keeps two results of one task apart. Every time a task is
// handed out it is another attempt, whose number is on disk in the event log before
// the worker has it; a result counts only while its attempt is the newest. So a book
// that is lost, old or damaged costs work that is done twice, and nothing else. That is
// why nothing here is synced: what was written survives the death of the process, but
// the last seconds may not survive the death of the machine.
//
// # Tokens
//
// A [Claim] says which attempt of which task a worker was handed. Its token carries
// the attempt's number and the worker's name, and a code over both and the task, made
// with the book's key: nobody can make one that was not handed out, and it needs no
// memory to be known again. The number is a fencing token: of two tokens of one task the
// one with the higher number was handed out later.
//
// # The file
//
// Lines of text. The first has the key, each other one a lease as it stands from there
// on, or that a lease has ended; each begins with the CRC-32C of the rest of it, in
// eight hex digits. A line that is not whole is passed over. The file is written anew
// when most of it is history, and at every start.
package lease
