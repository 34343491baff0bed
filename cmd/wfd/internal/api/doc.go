// Package api is wfd's HTTP API. The CLI speaks to nothing else: over a socket
// to a daemon, or to the same handler in its own process.
//
// Answers are JSON; lists are {"items", "next_cursor"}; an error is an RFC 9457
// problem whose type is one of [Types]. Requests that change a run take an
// Idempotency-Key: repeated with the same key they are done once. A start is
// answered with 201, and with 200 where the run was there already.
//
// Events come as JSON pages, as server-sent events (id = seq, resumed by
// Last-Event-ID) or as NDJSON. A stream reads the log page by page, between
// writes, and waits at its end for the next commit; a client that does not take
// a write within [streamWrite] is dropped and resumes from the last seq it has.
// So no client, however slow, holds a transaction open or a run up.
//
// # Who asks
//
// The server names the actor of every command; a client cannot. It is
// "api:local" for a request over loopback without a token, "api:token" where a
// token is required, and "cli:<user>@local" where the CLI works on a directory
// of its own. There is one token or none, and it is required everywhere but at
// /livez and /readyz. Requests that a browser sends on behalf of another site
// are refused, as are those whose Host is not one the daemon goes by.
//
// # Limits
//
// Bodies are at most 1 MiB, and 16 MiB where they carry an input, a signal or an
// answer. JSON is at most 64 deep, valid UTF-8, and has no key twice. At most
// 1,000 streams are open at once.
package api
