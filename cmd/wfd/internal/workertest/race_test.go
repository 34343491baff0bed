//go:build race

package workertest

func init() { raced = true }
