// Package eventlog is the log that everything else is derived from: an
// append-only sequence of events with one global order, on one disk.
//
// # Promises
//
//  1. An append that returns without error is on disk: its commit is synced.
//  2. An append is all or nothing, and its events are neighbours in the global
//     order. Seqs are dense from 1, so are the versions of each run, and the
//     times of a run never go back.
//  3. An append is stored only if its run is at the version it was decided on,
//     counting appends that are enqueued and not yet durable.
//  4. An error says what is known: nothing was stored ([ErrConflict],
//     [ErrInvalid], [ErrTooLarge], [ErrFull], [ErrStopped], [ErrReadOnly],
//     [ErrClosed], and a context's error), or nobody knows ([ErrUnknown]).
//  5. After a commit of unknown outcome the log accepts nothing more, in this
//     process. Reads go on. A fresh start finds the append or does not; its
//     producer asks by reading what follows the version it expected, and
//     recognises its own events by their [AppendID]. A failed sync is never
//     retried. A full disk that is met before a commit could become visible is
//     not such an error: the append fails with [ErrFull], and later ones
//     succeed when there is space.
//  6. Bytes that are not as they were written are reported as a
//     [*CorruptError] that names file, seq and run; they are never returned as
//     an event, never skipped in silence, and never a panic. Other runs stay
//     readable.
//  7. The Merkle tree of RFC 6962 over all events commits to everything in an
//     event but its append ID, and to its payload only through a salted hash.
//
// # How to call it
//
//	d, err := eventlog.Open(dir, eventlog.Options{OnCommit: bell})
//	seq, err := d.Append(ctx, eventlog.Append{
//		ID: id, Run: run, Expect: version, Records: records,
//	})
//	events, err := d.ReadFrom(seq-1, 1000) // an empty page is the head
//
// Appends may come from any number of goroutines: while one batch is being
// committed the next one collects, so the more there are, the less each costs.
// One transition of a run should be one append. A projection keeps one number,
// the last seq it has applied, in the same transaction as its rows.
//
// Other packages depend on [Log] and not on DB. Package eventlogtest has the
// suite that every Log passes and a log in memory for tests.
//
// # On disk
//
//	LOCK                     flock; the holder's process ID and address
//	catalog.db               format version, table of segments, filters of runs
//	log/<first seq>.db       segments: one bbolt file each
//	log/synced               which commit is known to be on the disk
//	log/next.tmp             the next segment, prepared past half of the open one
//	blobs/ab/cd/<sha256>     payloads over BlobOver
//	archives/<sha256>.wfda   payloads of events that keep no more than a rest of them
//
// Events are packed in chunks of at most 8 kB, and a chunk is the value of one
// key, so that a commit writes few pages. The index from runs to seqs is held
// in memory for the open segment and written once, in the background, when the
// next one has begun: an index kept in the commit would write a page for every
// run that an old timer wakes. docs/format.md has every byte;
// docs/adr/0001-segmented-block-log.md the reasons and measurements,
// docs/adr/0037-a-commit-is-synced-once.md why one sync is enough.
//
// The way of an append:
//
//	producer   validate, write blobs, encode, hash leaves
//	           under the lock: check the version, join the open batch
//	writer,    take the batch; join leaves to the tree; pack chunks;
//	or a lone  bbolt commit: pages, sync, meta page, sync
//	producer   index, durable head, OnCommit, wake the producers
//
// Files of the package by concept: log.go and validate.go are the contract;
// db.go opens and closes; append.go, writer.go and rotate.go write; read.go
// reads; segment.go, catalog.go, index.go, bloom.go, chunk.go, record.go and
// blob.go are what is on disk; merkle.go and tree.go are the tree; bolt.go and
// pool.go, with package boltfile, stand between us and bbolt; erase.go, rewrite.go,
// archive.go, archive_erase.go and archive_file.go take payloads out; check.go, digest.go and
// sweep.go look after the whole; snapshot.go and assemble.go take a log apart and
// put it together again, for package backup. Package audit proves to others what
// is in the log.
//
// # What it assumes
//
// Of disks: that a sync which succeeded has happened, that writing 4096 aligned
// bytes does not damage their neighbours, that rename within a directory is
// atomic. A disk that lies about syncs is not survived, but it is noticed, as a
// gap or a wrong tree head, if what it lost was in a segment's middle or the
// catalog is newer; a log that was cut at a commit as if it had never gone on
// can only be told by someone who kept a tree head.
//
// Of callers: run IDs and append IDs are unique because they are random; clocks
// are theirs, the log reads none, and the time of a commit is the latest time
// of any event. OnCommit must not block.
//
// # Known holes
//
//   - A run is looked for in the segments from the newest back, in memory by
//     their filters: some 20 to 70 ns per segment and append of a run that is not
//     in the open segment.
//   - The leaves of a sealed segment's B-tree are not looked at before bbolt
//     follows them. A changed page number that leads to a stale inner page
//     which leads back is a cycle that bbolt would follow. No single bit flip
//     has been seen to do it; [Check] finds all of them.
//   - Files are native to little-endian machines: bbolt's pages are.
package eventlog
