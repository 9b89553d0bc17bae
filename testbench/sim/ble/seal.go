package ble

import (
	"crypto/aes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
)

// SealedBTHome is an advertisement in encrypted BTHome v2 with its number and objects. Address and key are written in
// hexadecimal digits, the address with colons. The CCM goes block by block as RFC 3610 states it.
func SealedBTHome(address, key string, number uint32, objects ...byte) (Advert, error) {
	const info = 0x41
	secret, err := hex.DecodeString(key)
	if err != nil {
		return Advert{}, err
	}
	block, err := aes.NewCipher(secret)
	if err != nil {
		return Advert{}, err
	}
	mac, err := hex.DecodeString(strings.ReplaceAll(address, ":", ""))
	if err != nil || len(mac) != 6 {
		return Advert{}, fmt.Errorf("%q is no address", address)
	}
	counter := binary.LittleEndian.AppendUint32(nil, number)
	nonce := append(append(mac, 0xD2, 0xFC, info), counter...)

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
	out = append(out, counter...)
	for i, s := range pad(0)[:4] {
		out = append(out, x[i]^s)
	}
	return Advert{RSSI: -65, Service: map[uint16][]byte{0xFCD2: out}}, nil
}
