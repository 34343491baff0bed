package eventlogtest

import (
	"testing"

	"github.com/wfd-dev/wfd/eventlog"
)

func TestMemory(t *testing.T) {
	Run(t, func(t *testing.T) eventlog.Log { return NewMemory() })
}
