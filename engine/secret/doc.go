// Package secret finds secrets by name, and takes their values out of whatever
// is about to be stored or shown.
//
//	s, err := secret.Open("/run/secrets") // a directory, a file, or "" for neither
//	key, err := s.Get("CHAT")             // ErrUnknown, or why it cannot be used
//	text = s.Redactor().Text(text)        // "the key is [secret CHAT]"
//
// # Where secrets come from
//
// First the environment, WFD_SECRET_<name>; then what Open was given: a directory
// with a file per secret, named like it, or a file of lines
//
//	# comment
//	NAME=value
//	OTHER="value with \"escapes\" and\nline breaks"
//
// A file must not be readable or writable by everybody, nor writable by its group.
// One line break at the end of a secret's own file is not part of it. Files are read
// again when they have changed, at most a second later, so that a secret can be
// rotated under a running daemon.
//
// A name has letters, digits, _, - and dots, and does not begin with a dot or a dash.
// A value has 4 bytes to 64 KiB: a shorter one could not be told from ordinary text,
// and is refused rather than let through.
//
// # What a Redactor finds
//
// The values of all secrets that the store has now, has had, or was told of, also
// encoded: as JSON, Go, URL and HTML escape them, in hexadecimal, and in base64 at
// any of the three offsets that a value may have in a longer text (as a password
// does in a basic authorization). Of a value with line breaks, every line of 16 bytes
// and more.
//
// # Known holes
//
// A value that was changed otherwise (cut, reversed, in another case, encoded twice)
// is not found. Programs are not confined: one that reads the daemon's own files or
// environment may find what it was not given.
package secret
