use std::time::Instant;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;

use super::*;

/// The view of `model` in `width` x `height` characters.
fn view(model: &LiveState, width: u16, height: u16) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, model)).unwrap();
    terminal.backend().buffer().clone()
}

fn lines(buffer: &Buffer) -> Vec<String> {
    let row = |cells: &[ratatui::buffer::Cell]| cells.iter().map(|cell| cell.symbol()).collect();
    buffer.content.chunks(buffer.area.width.into()).map(row).collect()
}

fn status(value: f64) -> Status {
    Status {
        phase: None,
        loss: Some(value),
        energy_gap: Some(-value),
        accuracy: Some(value),
        images_per_second: Some(310.4),
    }
}

fn run(iterations: u64, colors: Colors) -> LiveState {
    let mut model = LiveState::new(0, 2 * iterations, colors);
    for iteration in 1..=iterations {
        model.update(iteration, &status((iteration as f64 / 50.0).sin()));
    }
    model.validation(iterations / 2, 0.432, "iteration 50: validation accuracy 43.2%");
    model.time("3m20s left".into());
    model.note("back to 30");
    model.samples(iterations, &[0.5; 20 * 32 * 32 * 3], [32, 32, 3], None);
    model
}

#[test]
fn all_is_there_in_80x24_and_larger() {
    for colors in [Colors::True, Colors::Indexed, Colors::None] {
        for (width, height) in [(80, 23), (80, 14), (120, 39), (250, 46)] {
            let lines = lines(&view(&run(100, colors), width, height));
            let text = lines.join("\n");
            for part in ["energy gap -0.909", "─ training 90.9%", "• validation 43.2%", "loss 0.909"] {
                assert!(text.contains(part), "{part} in\n{text}");
            }
            let [.., progress, note, rest] = &lines[..] else { panic!("{text}") };
            assert!(progress.starts_with("100/200 ━") && progress.contains("─  "), "{text}");
            assert!(progress.contains(" 50%  3m20s left  310 images/s"), "{text}");
            assert!(note.starts_with("iteration 50: validation accuracy 43.2% · back to 30"), "{text}");
            assert_eq!(rest.trim(), "");
            assert!(text.chars().filter(|c| ('\u{2801}'..='\u{28ff}').contains(c)).count() > 40);
            assert_eq!(text.contains("samples, iteration 100"), colors == Colors::True, "{text}");
            assert_eq!(text.contains('▀'), colors == Colors::True);
        }
    }
}

#[test]
fn no_size_and_no_value_makes_it_panic() {
    let mut odd = LiveState::new(5, 0, Colors::True);
    for (iteration, value) in
        [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, -3e38, 3e38, 1e-300, 0.0].iter().enumerate()
    {
        odd.update(iteration as u64, &status(*value));
        odd.validation(iteration as u64, *value, "");
    }
    odd.samples(1, &[f32::NAN; 3 * 5 * 7], [5, 7, 1], Some(2));
    let mut one = LiveState::new(0, 1, Colors::Indexed);
    one.update(1, &status(0.25));
    let models = [LiveState::new(0, 10, Colors::None), odd, one, run(100, Colors::True)];
    for model in &models {
        for (width, height) in
            (1..100).step_by(3).flat_map(|width| [1, 2, 3, 4, 7, 12, 40].map(|height| (width, height)))
        {
            view(model, width, height);
        }
    }
    assert!(lines(&view(&models[2], 60, 14)).join("\n").contains("training 25.0%"));
}

#[test]
fn a_long_run_is_drawn_at_once() {
    let model = run(100_000, Colors::True);
    let began = Instant::now();
    assert!(lines(&view(&model, 120, 40)).join("\n").contains("100000/200000"));
    // It takes milliseconds; the bound allows for unoptimised builds and a busy machine.
    assert!(began.elapsed().as_secs_f64() < 1.0, "{:?}", began.elapsed());
}

#[test]
fn curves_go_back_with_the_run() {
    let mut model = run(100, Colors::None);
    model.update(41, &status(0.5));
    assert_eq!([model.loss.len(), model.gap.len(), model.accuracy.len()], [41; 3]);
    assert_eq!((model.validation.len(), model.loss[40]), (0, (41.0, 0.5)));
    let table = MetricsTable {
        columns: ["iteration", "loss", "validation_accuracy"].map(String::from).to_vec(),
        rows: vec![vec![Some(0.0), Some(2.0), None], vec![Some(1.0), Some(f64::NAN), Some(0.1)]],
    };
    model.history(&table);
    assert_eq!((&model.loss[..], &model.validation[..]), (&[(1.0, 2.0)][..], &[(2.0, 0.1)][..]));
}

#[test]
fn a_half_block_shows_two_pixels() {
    // Two grey images of 2x2 pixels in a row, then two more: those of the first column come first.
    let mut model = LiveState::new(0, 1, Colors::True);
    let images: Vec<f32> = [-1.0f32, 1.0, 0.0, 0.5].iter().flat_map(|&v| [v, v, -v, -v]).collect();
    model.samples(1, &images, [2, 2, 1], Some(2));
    let buffer = view(&model, 60, 14);
    let grey = |value: u8| Color::Rgb(value, value, value);
    let blocks: Vec<_> = buffer.content.iter().filter(|cell| cell.symbol() == "▀").collect();
    assert_eq!(blocks.len(), 8);
    let pairs: Vec<_> = blocks.iter().step_by(2).map(|cell| (cell.fg, cell.bg)).collect();
    let expected = [(0, 255), (128, 128), (255, 0), (191, 64)].map(|(a, b)| (grey(a), grey(b)));
    assert_eq!(pairs, expected);
}

#[test]
fn terminals_say_what_they_show() {
    let of = |pairs: &[(&str, &str)]| {
        Colors::of(|name| pairs.iter().find(|pair| pair.0 == name).map(|pair| pair.1.to_owned()))
    };
    assert_eq!(of(&[("TERM", "xterm"), ("COLORTERM", "truecolor")]), Colors::True);
    assert_eq!(of(&[("TERM", "xterm"), ("COLORTERM", "24bit")]), Colors::True);
    assert_eq!(of(&[("TERM", "xterm-direct")]), Colors::True);
    assert_eq!(of(&[("TERM", "xterm-256color")]), Colors::Indexed);
    assert_eq!(of(&[("TERM", "xterm")]), Colors::None);
    assert_eq!(of(&[("COLORTERM", "truecolor"), ("NO_COLOR", "1")]), Colors::None);
}
