package crypt

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
)

const (
	keySize   = 32
	nonceSize = 24
	tagSize   = 16
)

// extended is a key for any number of random nonces: XAES-256-GCM as C2SP has it.
type extended struct {
	block cipher.Block
	k1    [aes.BlockSize]byte
}

func newExtended(key *[keySize]byte) *extended {
	x := &extended{block: newBlock(key[:])}
	x.block.Encrypt(x.k1[:], x.k1[:])
	var msb byte
	for i := len(x.k1) - 1; i >= 0; i-- {
		msb, x.k1[i] = x.k1[i]>>7, x.k1[i]<<1|msb
	}
	x.k1[len(x.k1)-1] ^= byte(subtle.ConstantTimeSelect(int(msb), 0x87, 0))
	return x
}

// derive returns the cipher of a nonce's first half; its second half is the nonce
// of that.
func (x *extended) derive(half []byte) cipher.Block {
	var key [keySize]byte
	for i := range 2 {
		m := key[i*aes.BlockSize:][:aes.BlockSize]
		copy(m[4:], half)
		m[1], m[2] = byte(i+1), 'X'
		subtle.XORBytes(m, m, x.k1[:])
		x.block.Encrypt(m, m)
	}
	return newBlock(key[:])
}

func newBlock(key []byte) cipher.Block {
	b, err := aes.NewCipher(key)
	if err != nil {
		panic(err) // of another length than 32
	}
	return b
}

func newGCM(b cipher.Block) cipher.AEAD {
	g, err := cipher.NewGCM(b)
	if err != nil {
		panic(err) // of another block size than AES has
	}
	return g
}
