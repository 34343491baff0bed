// Package browser plays the page of a real daemon in a real browser: Debian's chromium,
// led by playwright-core. It holds no code but its test; play.mjs has the scenes. Without
// node, chromium or the packages of testdata/npm the test is skipped, and says which is
// missing. Pictures of all screens go to shots/, for a person to look at.
package browser
