//go:build race

package eventlog_test

// raceEnabled makes the slowest tests smaller under the race detector.
const raceEnabled = true
