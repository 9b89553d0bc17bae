package advert_test

import (
	"crypto/aes"
	"encoding/binary"
	"testing"
)

// sealBTHome seals objects as a device does, with a CCM written for this test alone: block by block as RFC 3610 states
// it, with nothing of the code under test.
func sealBTHome(t testing.TB, mac, key string, info byte, objects []byte, counter uint32) []byte {
	t.Helper()
	block, err := aes.NewCipher(bytesOf(t, key))
	if err != nil {
		t.Fatal(err)
	}
	var address []byte
	for i := 0; i < len(mac); i += 3 {
		address = append(address, bytesOf(t, mac[i:i+2])...)
	}
	number := binary.LittleEndian.AppendUint32(nil, counter)
	nonce := append(append(append([]byte(nil), address...), 0xD2, 0xFC, info), number...)

	x := append([]byte{0x09}, nonce...) // M = 4, L = 2, no extra data
	x = binary.BigEndian.AppendUint16(x, uint16(len(objects)))
	block.Encrypt(x, x)
	for i, b := range objects {
		x[i%16] ^= b
		if i%16 == 15 || i == len(objects)-1 {
			block.Encrypt(x, x)
		}
	}
	pad := func(n uint16) []byte {
		a := append([]byte{0x01}, nonce...)
		a = binary.BigEndian.AppendUint16(a, n)
		block.Encrypt(a, a)
		return a
	}
	out := []byte{info}
	for i, b := range objects {
		out = append(out, b^pad(uint16(i/16 + 1))[i%16])
	}
	out = append(out, number...)
	for i, s := range pad(0)[:4] {
		out = append(out, x[i]^s)
	}
	return out
}
