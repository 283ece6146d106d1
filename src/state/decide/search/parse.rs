//! From the bytes of a statement to a [`Query`].
//!
//! Owns the grammar of the protocol's section 5 and nothing beyond it. sqlparser cuts the statement into
//! tokens; its own grammar is not used, because it knows far more of SQL than may be let in, and because each
//! level of a condition costs it many times the stack that it costs here. Never evaluates anything, never
//! goes back over a token, and no statement makes it recurse deeper than [`STATEMENT_LEVELS`].

use sqlparser::dialect::AnsiDialect;
use sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer, Whitespace};

use super::condition::{
    Column, Comparison, Condition, NumberColumn, NumberOperand, Pattern, TextOperand,
};
use super::like::Codes;
use super::{BadQuery, Order, Query};
use crate::codec::charset::{Breaks, Charset};
use crate::limits::{SEARCH_RESULTS, STATEMENT_BYTES, STATEMENT_LEVELS};

/// Characters of a statement that a refusal repeats.
const QUOTED_CHARS: usize = 40;

pub(super) fn parse(bytes: &[u8], charset: Charset) -> Result<Query, BadQuery> {
    let statement = Statement { bytes, charset };
    if bytes.len() > STATEMENT_BYTES {
        let position = Some(statement.characters(STATEMENT_BYTES + 1));
        let reason = format!(
            "a statement has at most {STATEMENT_BYTES} bytes, this one has {}",
            bytes.len()
        );
        return Err(BadQuery { position, reason });
    }
    if !charset.is_text(bytes, Breaks::Refused) {
        let reason = format!("the statement is not text in {charset}");
        return Err(BadQuery { position: None, reason });
    }
    let tokens = statement.tokens()?;
    Parser { statement, tokens: &tokens, needs_online: false }.query()
}

/// The statement as it came, for its tokens and for the places of what is wrong.
#[derive(Clone, Copy)]
struct Statement<'a> {
    bytes: &'a [u8],
    charset: Charset,
}

impl Statement<'_> {
    /// The tokens without the space between them.
    fn tokens(&self) -> Result<Vec<TokenWithSpan>, BadQuery> {
        let disguised = self.disguised()?;
        let mut tokens = Tokenizer::new(&AnsiDialect {}, &disguised)
            .tokenize_with_location()
            .map_err(|error| self.bad(Some(error.location), error.message))?;
        tokens.retain(|token| match token.token {
            // Comments are space to sqlparser as well; here they stay, and are refused like any other stranger.
            Token::Whitespace(Whitespace::Space) => false,
            _ => true,
        });
        Ok(tokens)
    }

    /// The statement with every byte as one character, so that strings come back as they were sent: not
    /// everything in GB18030 survives the way to Unicode and back. Outside of strings there is only ASCII.
    fn disguised(&self) -> Result<String, BadQuery> {
        let mut disguised = String::with_capacity(2 * self.bytes.len());
        let mut in_string = false;
        let mut rest = self.bytes;
        while !rest.is_empty() {
            let (character, others) = rest.split_at(self.charset.char_len(rest));
            in_string ^= character == b"'";
            if !in_string && !character.is_ascii() {
                let position = Some(self.characters(self.bytes.len() - rest.len()) + 1);
                let reason = "only strings may hold characters beyond ASCII".to_owned();
                return Err(BadQuery { position, reason });
            }
            disguised.extend(character.iter().map(|byte| char::from(*byte)));
            rest = others;
        }
        Ok(disguised)
    }

    fn bad(&self, location: Option<Location>, reason: String) -> BadQuery {
        BadQuery { position: location.and_then(|location| self.position(location)), reason }
    }

    /// The place as a count of characters from 1. sqlparser counts what are bytes here.
    fn position(&self, location: Location) -> Option<usize> {
        let offset = usize::try_from(location.column.checked_sub(1)?).ok()?;
        Some(self.characters(offset.min(self.bytes.len())) + 1)
    }

    /// The characters in the first `end` bytes.
    fn characters(&self, end: usize) -> usize {
        let (mut at, mut count) = (0, 0);
        while at < end {
            at += self.charset.char_len(&self.bytes[at..]);
            count += 1;
        }
        count
    }
}

/// The bytes of a string that was disguised.
fn undisguised(text: &str) -> Box<[u8]> {
    let byte = |c| u8::try_from(c).expect("each character was made from a byte");
    text.chars().map(byte).collect()
}

/// The tokens that are still to be read, and what was noticed in those that were.
struct Parser<'a> {
    statement: Statement<'a>,
    tokens: &'a [TokenWithSpan],
    needs_online: bool,
}

/// A part of a condition, and how many levels it has.
struct Piece {
    what: What,
    height: usize,
}

/// Only what follows a parenthesis tells whether it is around a condition or around one side of a comparison.
enum What {
    Condition(Condition),
    Operand(Operand),
}

/// One side of a comparison, with its type.
enum Operand {
    Number(NumberOperand),
    Text(TextOperand),
}

// The statement.

impl Parser<'_> {
    fn query(mut self) -> Result<Query, BadQuery> {
        self.expect_word("SELECT")?;
        if !self.sign(&Token::Mul) {
            self.column()?;
            while self.sign(&Token::Comma) {
                self.column()?;
            }
        }
        // The reply has its own columns.
        self.needs_online = false;
        self.expect_word("FROM")?;
        self.expect_word("users")?;
        let condition = if self.word("WHERE") { Some(self.whole_condition()?) } else { None };
        let order = if self.word("ORDER") { self.order()? } else { Vec::new() };
        let limit = if self.word("LIMIT") { self.limit()? } else { SEARCH_RESULTS };
        self.sign(&Token::SemiColon);
        match self.tokens {
            [] | [TokenWithSpan { token: Token::EOF, .. }] => {}
            _ => return Err(self.expected("the end")),
        }
        let Self { statement: Statement { bytes, charset }, needs_online, .. } = self;
        let statement = bytes.into();
        Ok(Query { statement, condition, order, limit, needs_online, charset })
    }

    fn order(&mut self) -> Result<Vec<Order>, BadQuery> {
        let number = Column::Number(NumberColumn::Number);
        let mut order: Vec<Order> = Vec::new();
        self.expect_word("BY")?;
        loop {
            let column = self.column()?;
            let descending = !self.word("ASC") && self.word("DESC");
            // A column again, or any column after the number, which no two users share, decides nothing.
            if !order.iter().any(|earlier| earlier.column == column || earlier.column == number) {
                order.push(Order { column, descending });
            }
            if !self.sign(&Token::Comma) {
                break;
            }
        }
        // Ascending by number is what happens without being asked for.
        order.pop_if(|last| *last == Order { column: number, descending: false });
        Ok(order)
    }

    fn limit(&mut self) -> Result<usize, BadQuery> {
        match self.peek() {
            Some(Token::Number(..)) => {
                let limit = self.integer("")?;
                Ok(usize::try_from(limit).map_or(SEARCH_RESULTS, |limit| limit.min(SEARCH_RESULTS)))
            }
            _ => Err(self.expected("a number of users")),
        }
    }

    fn column(&mut self) -> Result<Column, BadQuery> {
        let Some(Token::Word(word)) = self.peek() else { return Err(self.expected("a column")) };
        match Column::named(&word.value) {
            Some(column) if word.quote_style.is_none() => {
                self.needs_online |= column == Column::Number(NumberColumn::Online);
                self.skip();
                Ok(column)
            }
            _ => Err(self.expected("a column")),
        }
    }
}

// Conditions. `level` is the number of parentheses and NOTs around.

impl Parser<'_> {
    fn whole_condition(&mut self) -> Result<Condition, BadQuery> {
        let piece = self.any(0)?;
        self.condition(piece).map(|(condition, _)| condition)
    }

    fn any(&mut self, level: usize) -> Result<Piece, BadQuery> {
        self.chain("OR", Condition::Any, |parser| parser.all(level))
    }

    fn all(&mut self, level: usize) -> Result<Piece, BadQuery> {
        self.chain("AND", Condition::All, |parser| parser.negated(level))
    }

    /// Links with a word between them: one level, however many they are, and none if there is but one.
    fn chain(
        &mut self,
        word: &str,
        join: impl FnOnce(Vec<Condition>) -> Condition,
        link: impl Fn(&mut Self) -> Result<Piece, BadQuery>,
    ) -> Result<Piece, BadQuery> {
        let first = link(self)?;
        if !self.is_word(word) {
            return Ok(first);
        }
        let (first, mut height) = self.condition(first)?;
        let mut links = vec![first];
        while self.word(word) {
            let next = link(self)?;
            let (next, next_height) = self.condition(next)?;
            links.push(next);
            height = height.max(next_height);
        }
        Ok(Piece { what: What::Condition(join(links)), height: self.deeper(height)? })
    }

    fn negated(&mut self, level: usize) -> Result<Piece, BadQuery> {
        if !self.word("NOT") {
            return self.predicate(level);
        }
        let inner = self.negated(self.deeper(level)?)?;
        let (inner, height) = self.condition(inner)?;
        let what = What::Condition(Condition::Not(Box::new(inner)));
        Ok(Piece { what, height: self.deeper(height)? })
    }

    /// A comparison, or what stands in parentheses, or one side of a comparison that is still to be seen.
    fn predicate(&mut self, level: usize) -> Result<Piece, BadQuery> {
        let piece = if self.sign(&Token::LParen) {
            let inner = self.any(self.deeper(level)?)?;
            self.expect_sign(&Token::RParen)?;
            Piece { what: inner.what, height: self.deeper(inner.height)? }
        } else {
            Piece { what: What::Operand(self.plain_operand()?), height: 0 }
        };
        let What::Operand(left) = &piece.what else { return Ok(piece) };
        let compared = match self.comparison() {
            Some(comparison) => Some(self.compare(comparison, left, level)?),
            None => self.word_comparison(left, level)?,
        };
        Ok(match compared {
            Some((condition, height)) => {
                Piece { what: What::Condition(condition), height: height.max(piece.height) }
            }
            None => piece,
        })
    }

    /// What begins with `LIKE`, `IN`, `BETWEEN` or `NOT`, if there is any of them.
    fn word_comparison(
        &mut self,
        left: &Operand,
        level: usize,
    ) -> Result<Option<(Condition, usize)>, BadQuery> {
        let negated = self.word("NOT");
        let (condition, height) = if self.word("LIKE") {
            self.like(left, level)?
        } else if self.word("IN") {
            self.in_list(left, level)?
        } else if self.word("BETWEEN") {
            let (low, low_height) = self.compare(Comparison::GreaterOrEqual, left, level)?;
            self.expect_word("AND")?;
            let (high, high_height) = self.compare(Comparison::LessOrEqual, left, level)?;
            (Condition::All(vec![low, high]), low_height.max(high_height))
        } else if negated {
            return Err(self.expected("LIKE, IN or BETWEEN"));
        } else {
            return Ok(None);
        };
        let condition = if negated { Condition::Not(Box::new(condition)) } else { condition };
        Ok(Some((condition, height)))
    }

    fn in_list(&mut self, left: &Operand, level: usize) -> Result<(Condition, usize), BadQuery> {
        self.expect_sign(&Token::LParen)?;
        let (first, mut height) = self.compare(Comparison::Equal, left, level)?;
        let mut any = vec![first];
        while self.sign(&Token::Comma) {
            let (next, next_height) = self.compare(Comparison::Equal, left, level)?;
            any.push(next);
            height = height.max(next_height);
        }
        self.expect_sign(&Token::RParen)?;
        Ok((Condition::Any(any), height))
    }

    /// A comparison of `left` with the operand that comes next.
    fn compare(
        &mut self,
        comparison: Comparison,
        left: &Operand,
        level: usize,
    ) -> Result<(Condition, usize), BadQuery> {
        let location = self.location();
        let (right, height) = self.operand(level)?;
        let condition = match (left, right) {
            (Operand::Number(left), Operand::Number(right)) => {
                Condition::Numbers(comparison, *left, right)
            }
            (Operand::Text(left), Operand::Text(right)) => {
                Condition::Texts(comparison, left.clone(), right)
            }
            _ => return Err(self.bad(location, "text and numbers do not compare")),
        };
        Ok((condition, height))
    }

    fn like(&mut self, left: &Operand, level: usize) -> Result<(Condition, usize), BadQuery> {
        let location = self.location();
        let (pattern, height) = self.operand(level)?;
        let (Operand::Text(left), Operand::Text(pattern)) = (left, pattern) else {
            return Err(self.bad(location, "LIKE is for text on both sides"));
        };
        let pattern = match pattern {
            TextOperand::Column(column) => Pattern::Column(column),
            TextOperand::Literal(pattern) => {
                Pattern::Literal(Codes::pattern(&pattern, self.statement.charset))
            }
        };
        Ok((Condition::Like(left.clone(), pattern), height))
    }

    /// One side of a comparison where nothing else may stand.
    fn operand(&mut self, level: usize) -> Result<(Operand, usize), BadQuery> {
        if !self.sign(&Token::LParen) {
            return Ok((self.plain_operand()?, 0));
        }
        let (inner, height) = self.operand(self.deeper(level)?)?;
        self.expect_sign(&Token::RParen)?;
        Ok((inner, self.deeper(height)?))
    }

    fn plain_operand(&mut self) -> Result<Operand, BadQuery> {
        match self.peek() {
            Some(Token::SingleQuotedString(text)) => {
                let text = undisguised(text);
                self.skip();
                Ok(Operand::Text(TextOperand::Literal(text)))
            }
            Some(Token::Number(..)) => Ok(literal(self.integer("")?)),
            Some(Token::Minus) => {
                self.skip();
                Ok(literal(self.integer("-")?))
            }
            Some(Token::Word(word)) if Column::named(&word.value).is_some() => {
                Ok(match self.column()? {
                    Column::Number(column) => Operand::Number(NumberOperand::Column(column)),
                    Column::Text(column) => Operand::Text(TextOperand::Column(column)),
                })
            }
            _ => Err(self.expected("a column, an integer or a string")),
        }
    }

    fn integer(&mut self, sign: &str) -> Result<i64, BadQuery> {
        match self.peek() {
            Some(Token::Number(digits, false)) if digits.bytes().all(|b| b.is_ascii_digit()) => {
                let Ok(integer) = format!("{sign}{digits}").parse() else {
                    return Err(self.bad(self.location(), "the integer does not fit in 64 bits"));
                };
                self.skip();
                Ok(integer)
            }
            _ => Err(self.expected("an integer")),
        }
    }

    fn comparison(&mut self) -> Option<Comparison> {
        let comparison = match self.peek()? {
            Token::Eq => Comparison::Equal,
            Token::Neq => Comparison::NotEqual,
            Token::Lt => Comparison::Less,
            Token::LtEq => Comparison::LessOrEqual,
            Token::Gt => Comparison::Greater,
            Token::GtEq => Comparison::GreaterOrEqual,
            _ => return None,
        };
        self.skip();
        Some(comparison)
    }

    /// The condition that a piece has to be here, where its comparison would have to go on otherwise.
    fn condition(&self, piece: Piece) -> Result<(Condition, usize), BadQuery> {
        match piece.what {
            What::Condition(condition) => Ok((condition, piece.height)),
            What::Operand(_) => Err(self.expected("a comparison")),
        }
    }
}

fn literal(integer: i64) -> Operand {
    Operand::Number(NumberOperand::Literal(integer))
}

// Tokens, one after the other.

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<&'a Token> {
        self.tokens.first().map(|token| &token.token)
    }

    fn location(&self) -> Option<Location> {
        self.tokens.first().map(|token| token.span.start)
    }

    fn skip(&mut self) {
        self.tokens = self.tokens.get(1..).unwrap_or_default();
    }

    fn is_word(&self, known: &str) -> bool {
        matches!(self.peek(), Some(Token::Word(word))
            if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(known))
    }

    /// Whether this word is next; it is skipped then.
    fn word(&mut self, known: &str) -> bool {
        let found = self.is_word(known);
        if found {
            self.skip();
        }
        found
    }

    /// Whether this sign is next; it is skipped then.
    fn sign(&mut self, known: &Token) -> bool {
        let found = self.peek() == Some(known);
        if found {
            self.skip();
        }
        found
    }

    /// One level more, where there may be one.
    fn deeper(&self, level: usize) -> Result<usize, BadQuery> {
        if level < STATEMENT_LEVELS {
            return Ok(level + 1);
        }
        let reason = format!("the condition is more than {STATEMENT_LEVELS} levels deep");
        let Statement { bytes, .. } = self.statement;
        let end = || self.statement.characters(bytes.len()) + 1;
        let position = self.location().and_then(|location| self.statement.position(location));
        Err(BadQuery { position: position.or_else(|| Some(end())), reason })
    }

    fn expect_word(&mut self, known: &str) -> Result<(), BadQuery> {
        if self.word(known) { Ok(()) } else { Err(self.expected(known)) }
    }

    fn expect_sign(&mut self, known: &Token) -> Result<(), BadQuery> {
        if self.sign(known) { Ok(()) } else { Err(self.expected(&known.to_string())) }
    }

    /// Refuses what is next.
    fn expected(&self, what: &str) -> BadQuery {
        let found = match self.peek() {
            None | Some(Token::EOF) => {
                return self.bad(None, format!("expected {what}, found the end"));
            }
            Some(Token::SingleQuotedString(_)) => "a string".to_owned(),
            Some(token) => {
                let visible = |c: char| if matches!(c, ' '..='~') { c } else { '?' };
                token.to_string().trim().chars().take(QUOTED_CHARS).map(visible).collect()
            }
        };
        self.bad(self.location(), format!("expected {what}, found {found}"))
    }

    fn bad(&self, location: Option<Location>, reason: impl Into<String>) -> BadQuery {
        self.statement.bad(location, reason.into())
    }
}
