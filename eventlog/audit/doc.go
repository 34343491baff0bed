// Package audit proves what is in a log to people who do not trust its owner's
// disk, or later the owner: with signed checkpoints, proofs that stand alone,
// and a verification that ends in names of files, seqs and runs.
//
// # Promises
//
//  1. A checkpoint says: the first Size events of this log, in this order, have
//     this Root. It is signed with Ed25519, and durable in checkpoints.txt
//     before anyone sees it.
//  2. The signer signs only what goes on from everything it has signed: a log
//     that was cut or rewritten on disk gets [ErrTruncated] or [ErrRewritten]
//     and no signature. Signing is never on the way of an append.
//  3. [Auditor.Prove], [Auditor.Consistency] and [Auditor.Export] give away
//     nothing that they have not themselves verified.
//  4. [CheckProof], [CheckConsistency] and [VerifyExport] need the document and
//     a public key: no log, no network, nothing of the engine. They are safe on
//     input from anyone, and accept each statement in one form only, so that no
//     two readers can see different things in it.
//  5. A payload that is erased or concealed is represented by its salted hash;
//     every proof still holds.
//  6. [VerifyDir] computes everything anew from the payloads: leaves, nodes, tree
//     heads, versions of runs, and the root at every signed checkpoint.
//     [Auditor.VerifyNew] does so for what came after a signed checkpoint.
//  7. A rotation of the key that was announced in the log is carried out, whatever
//     it was interrupted by; one that the log tells of and that is not signed is a
//     problem ([Auditor.Rotate]).
//
// # How to call it
//
//	a, err := audit.Open(dir, db, audit.Options{})     // beside an open eventlog.DB
//	checkpoint, note, err := a.Sign()                  // now and then, and at the end
//	proof, err := a.Prove(seq, false)
//	report, err := a.VerifyNew(audit.VerifyOptions{State: file})
//
// and elsewhere, with the content of audit.pub:
//
//	keys, err := audit.ParseKeys(pub)
//	p, err := audit.CheckProof(proof, keys)
//
// # On disk
//
//	audit.key         the private key, 0600; refused if others can read it
//	audit.key.next    the next one, while a rotation is under way
//	audit.pub         the public key
//	audit.keys        rotations: notes that the old and the new key sign
//	checkpoints.txt   signed checkpoints, one note after the other
//
// docs/format.md has every byte, docs/audit.md what it proves and what not,
// docs/adr/0006-merkle-tree-and-signed-checkpoints.md why it is so.
//
// Files of the package by concept: tree.go is the Merkle tree, note.go are
// signatures; checkpoint.go and keys.go are what is signed and whose word
// counts; keyfile.go and journal.go keep both on disk; auditor.go signs,
// rotate.go changes the key; proof.go, export.go and cloudevents.go speak to others, in the JSON of
// entry.go; verify.go, incremental.go and verify_export.go listen.
//
// # What it assumes
//
// That SHA-256 and Ed25519 hold; that the private key is read by nobody else;
// and that somebody out of the owner's reach keeps a checkpoint, or watches
// them. Without that, whoever has the key and all copies can write another
// history and sign it.
//
// # Known holes
//
//   - A key that was stolen signs what it wants until it is rotated, and a
//     verifier who does not know of the rotation believes it.
//   - The readings in an export (names of kinds, payloads as JSON) are vouched
//     for only if the verifier can read payloads himself.
//   - [VerifyExport] keeps the last version of each run in memory, some 50 bytes.
package audit
