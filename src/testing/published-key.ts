// FOR TESTS ONLY. These private keys are published: anybody can sign with them, and nothing may believe them outside a
// test. They are here because making a key takes 100 ms and more, in every file of a service's tests.

import { createPrivateKey } from 'node:crypto';

const pkcs8 = [
  'MIIEvgIBADANBgkqhkiG9w0BAQEFAASCBKgwggSkAgEAAoIBAQDgdnTV3MVoYyBaMPmQTZDjXTxylvifSQXFQb8VE2+vr1Uny4ZA',
  'QsWlMuY4hUMZVj8ZZn9RU3ST4oaSLubrP0puYqkofSYXxKM0om/qSf7lEL3+xw5iHZCk9y/2wysp3DjMkrzBQwpOtpkkJtGGS2/M',
  '0YSuutaIUdgBtaGrqBupjZ+SgynFyYk8HduYCJgcYTwrGv/5pypxzjSw8KVZp+YnxDP1pWc2D2ya+0+IsTx4DIc5uoSnVzKrq3PS',
  'wvwDjd6fMO6gHAVByV2gCDZAA12RO29NfX5y29oYkdtaRvD3lZ+UZs0xxluFscEY9ligFohS/9NVheOKc4IBAVo2W7vvAgMBAAEC',
  'ggEASq7vKdcmcZiFw6yG5L4CJrw3aBMWTv0/Z8X723nXj9dhGHgNx6TP2Srp0cV5MV1yajOhyf/gCnJ0/v+PApfQ3pCCIwAc5Ayf',
  'ltwzK3uKTVH4PWSiwv9+SH0cXtjKLEfjOCHcntr8+3qi0pX94daIsNfHc1GkHsBIhC0YSSKKbaubbOvyvQciN/935YG6dCHZwL2R',
  'npw5zLPuytiDRIjnqC9ZhjufjvxTi7eIiljJgvvFxNZdLKvaBju7lz2aVzm/BFv1euFqamgb/rtE8eMJkVOvrhTDO+u8xc2LdrUd',
  'hlwVEN99KM3UmIllsI2+rFQGmFJOYAiftfqPJ89zODEscQKBgQD1NtdU5Uqsz7mysJ9eysKWGkJRxU1PfXbpOIg+0DH/H/jHZF7d',
  'roU0FwdDwphBknggu5gWMJqhADzzhlxlXbTCC0oxXACFh9/+9tmCleIixv4FkKm0PEF8AhJjbcjkyC2/lfXGjxMR00bNLGcVAKFU',
  'S0emDfjp32sBHHUThJomsQKBgQDqVfMKIu3BcuejmEHmlOqmYzkrKiUOE+tWl0Nja1zVwPXWvRaLwMBFpvSlyFkMOlufO0pUjYki',
  'EpVheZeaSI9N5ZtzmrQ8ImSQ9qQQ67FjOATlVbhU81CLC90NTvfHT9Swgukyolwo03jnQcs/cUmN4p8oApJHaQPgVH02ks30nwKB',
  'gQChU8RVoUkA6uVkb5ladxGQSZRqUeFsM8JA7CWPFdBe5jz5icp0FHakb6Yi6WrccS3Bc0o7Bx0kYZC4MySkuALNSzozwTDCqUMw',
  'bl1p8YxGjx7esG9GGgKHQKGycq8h/aVDj7iUOtsz9gl1wQnMoo6Bc8mesUCbNZcjswI/phT48QKBgDvGEsmaIUWAFuAe/Whgwf4R',
  'P0roZC1UHWqoCPN6NmL75nmRIAgj8aeSr8L9+ODqneZfDFXHCJzdWqdTib08FvnKwL1bT/Aq4bYsg6shQ81IQ89v7yYULo5ZR1iW',
  'tRNtJJalvfBBg/qR/rwWh062igmcLfbZuRBoFCoLwyjBh7GHAoGBAIVUJWAvyK64SKXPX0wS7MRJB7ZDubF5THTsfYySIJ7xk1kZ',
  'p2tRhjZ6Zk/343mGku1aSOEgNZpne3Y3mmusN9PgyIpCdVmSno2KtcAW7gF5xgQj2smTCyxOlT5Wo8uLvl7iqS2bkAYtBDzpT9KG',
  'NlxM1z9Dqe9bJzZcz3M9Ay+O',
].join('');

const forgersPkcs8 = [
  'MIIEvgIBADANBgkqhkiG9w0BAQEFAASCBKgwggSkAgEAAoIBAQDRijUxADU8FUTVkqKUjpPO+0i2fk/gvL6eFODc2asXtlUR4bSSuHTQ',
  'zzkLX3pov2qIjhqbw6JLRxWb9Yfw5AL9QwiHXXd7P8kVUf0kJfQvEFMcG9EKxjSjXYtjNOeuqqfnEX1qNfQWrnNx3Ia084IaWUx3E1JO',
  'cQ5WLtPfztyON57vnGYnnmbFr8yI/b/ahF0sU25Bf4/QPPCnJz4Sqe39zNWp0vS/UZCeUXBTlKutgoNgRNQquV6YbTFpITGdxUrWgYmk',
  '/2YjjjLo45sxYkFa+GmFWKwqcI/8G3lZnoqYDzaYIOCZKnBlH+NxhdKpEaPyeeuZCYLL5+Rtz3DdgD85AgMBAAECggEAWrkDNLcJVX1D',
  '81BssfNVTb2Aivr/bKdrxJf3j8dyi263QGm/u/K/KRU/dowdPLL71inonV5Dq2IYmhDhjcu6+5qFW859B9DjKCb6eicwpRvlT/s/M/ID',
  'ImRDEG38jaR309S/vzei+hsIAtlfPYNc5jmZoMitzyal9WyK8ZDn726e3t07YrNq097CiV1PbqVNeSHGawrwaCP5aJvvAPZ6EirEkNJG',
  'uBx6DahFe0b9hqEgi/HfWZcDVwpgptV4D3V9r/L/AFDdQCQZDcf8W14XXNVhCpIMQO6UqzEAnXkv6OPYlnlOKZQlq4v9uoz7xt4KL9kg',
  'xtdyBp65nVJ7XfXhfQKBgQDwl89/7y467Z3tEd/hJtFToB6kSrrP01uevLtceFurps4tyC3qxa4OhaMjrMAVe/JSSrXItclpaJi+CUT0',
  'uUuLYPcuhkzB8JRN8UA4G8lAZQiSmcbfWjHAzDf02cKv2vFp+b2KhceDyiLxiUf31ezdln/yXi6PeMpTyYHfJZyzawKBgQDe9VL0kOtB',
  'BnAPJ5RywPkg208g1rN3/cdnXWUgk9LUGAgPJGi7GeG0Xa2qp/+/9cJl0TsurwJDmxYWtRJ/TeSae5/IoF9j2p7MGD5UgGfIMd0Oipvo',
  'A9pTWlAy2ta1XBrRVZcbn4E1fPTwnwV9wUEvSVWIT3yUzzBK6P7vn+Wk6wKBgQDlBY3nWZXnUGPh1P8Jg3sFoMkqWVylEqwHWd78cjHJ',
  'Hzrqx8A12MEMX9fg0MP0b41HGokaqzk0FvY3B/nU/0HTRpVle0A76TgzTbB0+LZFjydu7eUqnd/4iC3H7TZvUfo2iB4Oa7R1VoiW5bhV',
  'ShV1BZt76n1l43St94aiFVqqSwKBgQChYNhmhO6C5nH9xhxA40Rvb83aaw0D8QB/5K3p4pVbRvmuXCAiLR2dO6EUQP1wqCXJJKS9qZbt',
  '8DcQwIde9bZdytVglhP1ZqxB9dpHt5lm4hCrEdC/IurIIjqiVJvMMZqHonf5Wn5fhM6Vy8RhvZu86kuqmj4GR+Egl3zPXOEPeQKBgFYj',
  'c40ZaNhBZ3+G/kMvrqFF/IC5GT5cRsNGV8hpHUoXv7jqURcEMBPLTKK9T9LK34BiSZsXuYa2q0ZYD6BEioq4QvTuivAXME+SxiiPPyhd',
  '9Mka6ng5ajdUs2jCGUpLVXaB51l+BsduE0qUAu/dLKhg9HRQu1vn20DN6LDdmOoA',
].join('');

const read = (text: string) => createPrivateKey({ key: Buffer.from(text, 'base64'), format: 'der', type: 'pkcs8' });

/** The first key of a test issuer. */
export const publishedKey = () => read(pkcs8);

/** The key of somebody who forges tokens: no issuer has it. */
export const forgersKey = () => read(forgersPkcs8);
