// Package access decides who may do what.
//
// Whoever makes a request is a [Principal]: a name, which becomes the actor of the
// events that he causes, and [Scopes]. A token carries both. It is shown once, when
// it is made; the log has its SHA-256 (a token is 256 random bits, so that a slow hash
// would protect nothing more), and [Book] is the fold of the events that made and
// revoked tokens.
//
// What an operation needs is one scope, declared where the operation is; everything
// that asks whether somebody may do something asks [Scopes.Allow].
package access
