package eventlog

import (
	"encoding/binary"
	"fmt"
)

// bloom is a Bloom filter over the runs of a sealed segment: it proves that a
// run has no event there without a look at the file. Sixteen bits and seven probes
// per run let 1 in 1,400 pass wrongly; those of older builds have ten bits, 1 in 120.
// A run that is new is asked for of every filter there is.
//
// Its form on disk is: CRC-32C u32 of the rest, probes u8, then the bits.
type bloom []byte

const (
	bloomBits   = 16
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

// probes are the places of a run in filters of any size: the first number, and from
// each to the next the second.
type probes struct{ first, step uint64 }

func probesOf(run RunID) probes {
	hi, lo := binary.BigEndian.Uint64(run[:]), binary.BigEndian.Uint64(run[8:])
	h := mix(hi + 0x9e3779b97f4a7c15 ^ mix(lo))
	return probes{h, mix(h+lo) | 1}
}

// bits returns how many bits there are.
func (b bloom) bits() uint64 { return uint64(len(b)-bloomHeader) * 8 }

func (b bloom) add(run RunID) {
	p := probesOf(run)
	for range bloomProbes {
		at := p.first % b.bits()
		b[bloomHeader+at/8] |= 1 << (at % 8)
		p.first += p.step
	}
}

// has reports whether the run with probes p may have been added; false is certain.
func (b bloom) has(p probes) bool {
	for range bloomProbes {
		at := p.first % b.bits()
		if b[bloomHeader+at/8]&(1<<(at%8)) == 0 {
			return false
		}
		p.first += p.step
	}
	return true
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
