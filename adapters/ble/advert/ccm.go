package advert

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
	"encoding/binary"
)

// ccm is AES-CCM (RFC 3610), which the standard library does not have. tag is M, the length of the authentication
// field, in bytes; the nonce decides L, the length of the length.
type ccm struct {
	block cipher.Block
	tag   int
}

// newCCM makes a ccm; the key has 16 bytes.
func newCCM(key []byte, tag int) (*ccm, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return &ccm{block, tag}, nil
}

// open decrypts, and says whether sealed (the ciphertext and the authentication field behind it) is authentic. The
// nonce has 7 to 13 bytes; sealed is shorter than 64 KiB, and extra (which is authenticated, not encrypted) than 65,280
// bytes: both hold for every advertisement.
func (c *ccm) open(nonce, sealed, extra []byte) (plain []byte, ok bool) {
	n := len(sealed) - c.tag
	if n < 0 || n > 0xFFFF || len(extra) >= 0xFF00 || len(nonce) < 7 || len(nonce) > 13 {
		return nil, false
	}
	var counter, pad [aes.BlockSize]byte
	counter[0] = byte(14 - len(nonce)) // L - 1
	copy(counter[1:], nonce)
	plain = make([]byte, n)
	for at := 0; at < n; at += aes.BlockSize {
		binary.BigEndian.PutUint16(counter[14:], uint16(at/aes.BlockSize+1))
		c.block.Encrypt(pad[:], counter[:])
		subtle.XORBytes(plain[at:], sealed[at:n], pad[:])
	}
	mac := c.mac(nonce, plain, extra)
	binary.BigEndian.PutUint16(counter[14:], 0)
	c.block.Encrypt(pad[:], counter[:])
	subtle.XORBytes(mac[:], mac[:], pad[:])
	if subtle.ConstantTimeCompare(mac[:c.tag], sealed[n:]) != 1 {
		return nil, false
	}
	return plain, true
}

// mac is the CBC-MAC over the first block, the extra data and the plain text (RFC 3610, 2.2).
func (c *ccm) mac(nonce, plain, extra []byte) (x [aes.BlockSize]byte) {
	x[0] = byte((c.tag-2)/2)<<3 | byte(14-len(nonce))
	if len(extra) > 0 {
		x[0] |= 0x40
	}
	copy(x[1:], nonce)
	binary.BigEndian.PutUint16(x[14:], uint16(len(plain)))
	c.block.Encrypt(x[:], x[:])
	if len(extra) > 0 {
		// The length of the extra data takes the first two bytes of its first block.
		x[0], x[1] = x[0]^byte(len(extra)>>8), x[1]^byte(len(extra))
		first := min(len(extra), aes.BlockSize-2)
		subtle.XORBytes(x[2:], x[2:], extra[:first])
		c.block.Encrypt(x[:], x[:])
		c.absorb(&x, extra[first:])
	}
	c.absorb(&x, plain)
	return x
}

func (c *ccm) absorb(x *[aes.BlockSize]byte, data []byte) {
	for len(data) > 0 {
		n := subtle.XORBytes(x[:], x[:], data)
		c.block.Encrypt(x[:], x[:])
		data = data[n:]
	}
}
