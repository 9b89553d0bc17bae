package meter

// Search looks for the first frame in got that take wants. parse reads the frame that begins with its bytes and says how
// long it is, also when not all of it is there; 0 when none begins there. missing is the least number of bytes that an
// answer still needs, at most least, which is the length of the shortest frame.
func Search[F any](got []byte, least int, parse func([]byte) (F, int), take func(F) bool) (answer []byte, missing int) {
	missing = least
	for i := 0; i < len(got); {
		f, size := parse(got[i:])
		switch {
		case size == 0:
			i++
		case size > len(got)-i:
			missing = min(missing, size-(len(got)-i))
			i++
		case take(f):
			return got[i : i+size], 0
		default:
			i += size
		}
	}
	return nil, max(missing, 1)
}
