// Package trigger knows when schedules are due. It is pure: every moment is an
// argument, and what is decided follows from the arguments alone.
//
// A [Cron] is an expression of five fields (minute, hour, day of the month, month, day
// of the week), of six with seconds before them, or a name as @daily, in a time zone;
// or @every and a length of time.
//
// # Where clocks are set
//
// An expression that names hours means what a clock on the wall shows. A time that
// the wall clock leaves out is due at the moment that it leaves it out, and one that
// it shows twice is due the first time: a job at 02:30 runs once on every day of the
// year. An expression for every hour means the hours as they pass: 24 of a day that
// has 24, and 25 of a day that has 25.
package trigger
