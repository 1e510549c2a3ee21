// FOR TESTS ONLY. This private key is published: anybody can sign with it, and nothing may believe it outside a test.
// It is here because making a key takes 100 ms and more, in every file of a service's tests.

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

export const publishedKey = () => createPrivateKey({ key: Buffer.from(pkcs8, 'base64'), format: 'der', type: 'pkcs8' });
