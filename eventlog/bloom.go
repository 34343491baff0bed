package eventlog

import (
	"encoding/binary"
	"fmt"
)

// bloom is a Bloom filter over the runs of a sealed segment: it proves that a
// run has no event there without a look at the file. Ten bits and seven probes
// per run let 1 in 120 pass wrongly.
//
// Its form on disk is: CRC-32C u32 of the rest, probes u8, then the bits.
type bloom []byte

const (
	bloomBits   = 10
	bloomProbes = 7
	bloomHeader = crcLen + 1
)

func newBloom(runs int) bloom {
	b := make(bloom, bloomHeader+(runs*bloomBits+7)/8+1)
	b[crcLen] = bloomProbes
	return b
}

// mix is the finalizer of splitmix64. It is on disk, in effect: never change it.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// probe calls f with the place of each bit of run until f returns false.
func (b bloom) probe(run RunID, f func(byteIndex int, bit byte) bool) bool {
	hi, lo := binary.BigEndian.Uint64(run[:]), binary.BigEndian.Uint64(run[8:])
	h := mix(hi + 0x9e3779b97f4a7c15 ^ mix(lo))
	step := mix(h+lo) | 1
	bits := uint64(len(b)-bloomHeader) * 8
	for range bloomProbes {
		at := h % bits
		if !f(bloomHeader+int(at/8), 1<<(at%8)) {
			return false
		}
		h += step
	}
	return true
}

func (b bloom) add(run RunID) {
	b.probe(run, func(i int, bit byte) bool { b[i] |= bit; return true })
}

// has reports whether run may have been added; false is certain.
func (b bloom) has(run RunID) bool {
	return b.probe(run, func(i int, bit byte) bool { return b[i]&bit != 0 })
}

// seal completes the filter's form on disk.
func (b bloom) seal() { binary.BigEndian.PutUint32(b, checksum(b[crcLen:])) }

func parseBloom(b []byte) (bloom, error) {
	switch {
	case len(b) <= bloomHeader || binary.BigEndian.Uint32(b) != checksum(b[crcLen:]):
		return nil, fmt.Errorf("filter of runs: %w", errChecksum)
	case b[crcLen] != bloomProbes:
		return nil, fmt.Errorf("filter of runs: %w", errEncoding)
	}
	return append(bloom(nil), b...), nil
}
