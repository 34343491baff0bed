// Package backup copies a data directory while its log goes on, verifies the copy,
// and makes a data directory of it again, up to any event.
//
// # What it promises
//
//  1. A backup is of one moment: the events up to one commit, with their blobs and
//     archives, the catalog, and what was signed. Appends go on meanwhile. Nothing
//     in it is of a later moment, and views/ is not in it.
//  2. A backup that is there is whole: the manifest is written last, after every
//     file was synced, read again and compared. What was interrupted is not taken
//     for a backup, and a backup that is renewed is the old one until it is the new
//     one.
//  3. [Verify] names every file that is damaged, missing, cut off, or not of the
//     backup.
//  4. [Restore] makes a directory that did not exist, or was empty, in one step:
//     until then it has another name. It compares every file with the manifest,
//     the tree over the events with its root, and the events with all that was
//     signed.
//
// # How to call it
//
// [Send] writes a backup as a stream, which is what the API answers with;
// [Destination.Receive] takes it in:
//
//	to, err := backup.Open(ctx, "/mnt/wfd", backup.OpenOptions{}) // or "monday.tar.zst"
//	err = backup.Send(ctx, w, source, backup.Options{Have: to.Have()})
//	done, err := to.Receive(ctx, r)
//	err = to.Close()
//	report, err := backup.Verify(ctx, "/mnt/wfd", nil, nil)
//	restored, err := backup.Restore(ctx, "/mnt/wfd", dir, backup.RestoreOptions{})
//
// # On disk
//
// A backup is a directory:
//
//	manifest            what the backup has; absent before it is whole
//	objects/ab/<sha256> a file of the data directory, named by its content
//	unfinished          while one is being made; left by a crash
//	LOCK                flock, against a second one at the same time
//
// Made again into the same directory, it copies what is new: sealed segments,
// blobs and full pieces of the open segment are there already. They are read and
// compared before, so that what has become damaged is copied again.
//
// Or it is one file, whose name ends in .tar.zst: a tar, compressed with zstd, of
// the files under their names and of the manifest as the last. docs/format.md has
// the bytes.
//
// The log's private key is in a backup only if that was asked for; see
// [Source.Copy].
package backup
