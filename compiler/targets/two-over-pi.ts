/** The first 224 bits of 2/π, in words: what decides the quadrant of any float (Payne and Hanek 1983). */
export const twoOverPi: readonly number[] = [
  0xa2f9836e, 0x4e441529, 0xfc2757d1, 0xf534ddc0, 0xdb629599, 0x3c439041, 0xfe5163ab,
];
